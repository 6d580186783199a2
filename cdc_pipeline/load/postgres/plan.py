"""What one Cassandra table becomes in PostgreSQL: names, types, keys. Data; `ddl.py` and `merge.py` write its SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cdc_pipeline.load.clustering import has_forms
from cdc_pipeline.load.planning import Planner, Shape, Types
from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.types import (
    COUNTER,
    KEY_IS_EXACT,
    MASKED,
    CellsType,
    ValueType,
    cells_type,
    masked_cells_type,
    value_type,
)
from cdc_pipeline.schema import Column, Table

CLUSTERING = '"r:ck"'
"""The clustering's sort bytes: rows lie in a partition as Cassandra sorts them, and a range is two of these."""

WRITTEN = '"r:at"'
"""Where in the log the clustering of a row was written as it is shown; only where it may be in several forms."""


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A primary key column: its typed column, and whether its serialized bytes (`raw`) make the key instead.

    A clustering column is never part of the index by itself: the clustering's sort bytes are (`merge.py`). `place` is
    `p0`, `p1`, … in the partition key, `c0`, … in the clustering.
    """

    place: str
    column: Column
    masked: bool
    type: ValueType
    by_bytes: bool

    @property
    def sql_name(self) -> str:
        """The typed column in the state tables, quoted."""
        return names.key_column(self.place)

    @property
    def raw_name(self) -> str:
        """The serialized bytes beside it, quoted; only where `by_bytes`."""
        return names.key_column(self.place, "b")

    @property
    def index_name(self) -> str:
        """The column that identifies a partition, quoted."""
        return self.raw_name if self.by_bytes else self.sql_name


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A static or regular column: `id` counts in `Table.value_columns`.

    One that was dropped and added again keeps its cells apart from those of before, which may be of another type: they
    are named by the time when it was dropped (`dropped_micros`).
    """

    id: int
    column: Column
    masked: bool
    type: ValueType | CellsType
    dropped_micros: int | None = None

    @property
    def is_cells(self) -> bool:
        """Whether it holds cells by path."""
        return isinstance(self.type, CellsType)

    @property
    def bytes_beside(self) -> bool:
        """Whether its serialized bytes are kept to decide ties."""
        return isinstance(self.type, ValueType) and self.type.tie is None

    def part(self, prefix: str) -> str:
        """One of its columns in the state table, quoted: `v`, `w`, `x`, `b` or `d`."""
        again = f"@{self.dropped_micros}" if self.dropped_micros is not None else ""
        return names.column(prefix + again, self.column.name)


@dataclass(frozen=True)
class TablePlan(Shape[KeyColumn, ValueColumn]):
    """A table's shape in PostgreSQL.

    `generation` counts the tables that had this name, each with an id of its own. `is_table`: users get a table.
    """

    generation: int = 1
    is_table: bool = False

    @property
    def state(self) -> str:
        """The table of rows, quoted."""
        return self._state("")

    @property
    def static_state(self) -> str:
        """The table of static rows, quoted."""
        return self._state("static")

    @property
    def ranges(self) -> str:
        """The ledger of range tombstones and partition deletions, quoted."""
        return self._state("ranges")

    def _state(self, part: str) -> str:
        return names.state_table(self.table.keyspace, self.table.name, part, self.generation)

    @property
    def public(self) -> str:
        """What users read, quoted: a view, or where `is_table` a table that is kept equal to one (`surface.py`)."""
        return f"{names.quoted(names.schema_name(self.table.keyspace))}.{names.quoted(self.table.name)}"

    @property
    def view(self) -> str:
        """The view of the state, quoted; where a table is kept equal to it, one of our own."""
        return names.state_table(self.table.keyspace, self.table.name, "view") if self.is_table else self.public

    @property
    def expiries(self) -> str:
        """The times at which rows of a table that is kept have to be looked at again, quoted."""
        return self._state("expiry")

    @cached_property
    def partition_names(self) -> tuple[str, ...]:
        """The columns that identify a partition, quoted."""
        return tuple(key.index_name for key in self.partition_key)

    @property
    def formed(self) -> tuple[KeyColumn, ...]:
        """The clustering columns that may be written in several forms (`clustering.py`)."""
        return tuple(key for key in self.clustering if has_forms(key))

    @property
    def row_key(self) -> tuple[str, ...]:
        """The columns of the rows' one unique index, which their merge names as its conflict target, quoted."""
        return (*self.partition_names, *([CLUSTERING] if self.has_clustering else []))

    @property
    def derived(self) -> Mapping[str, tuple[str, str]]:
        """Columns of the rows, quoted, that are not sent but made of their key: SQL type, expression over row `i`."""
        return {}

    @property
    def takes_copies(self) -> bool:
        """Whether new rows may be copied into the state itself: all that it holds is sent, and nothing hangs on it."""
        return not self.derived and not self.is_table

    @property
    def covers_by_key(self) -> bool:
        """Whether rows that a range covers are found by key first, because an UPDATE over a join would cost more."""
        return False

    def same_partition(self, left: str, right: str) -> str:
        """The condition that rows of two tables belong to one partition; an index or a hash serves it.

        A typed key part is NULL where Cassandra holds an empty value. `IS NOT DISTINCT FROM` would compare each row
        with each.
        """
        return " AND ".join(
            f"({left}.{name} = {right}.{name} OR ({left}.{name} IS NULL AND {right}.{name} IS NULL))"
            if self._may_be_null(at)
            else f"{left}.{name} = {right}.{name}"
            for at, name in enumerate(self.partition_names)
        )

    def _may_be_null(self, at: int) -> bool:
        """A single-column partition key is never empty in Cassandra; parts of a composite one may be."""
        key = self.partition_key[at]
        return len(self.partition_key) > 1 and not key.by_bytes and key.type.empty_is_null


_TYPES = Types(value_type, cells_type, MASKED, masked_cells_type, COUNTER, KEY_IS_EXACT)


def make_plan(
    table: Table,
    profile: str,
    overrides: Mapping[str, str],
    masked: Callable[[Column], bool],
    excluded: Callable[[Column], bool] = lambda _: False,
    generation: int = 1,
) -> TablePlan:
    """The plan of a table; `overrides` maps `keyspace.table.column` to an SQL type.

    `ConfigurationError` for an override that its column cannot take.
    """

    planner = Planner(table, profile, overrides, masked, excluded, _TYPES)

    def key(place: str, column: Column) -> KeyColumn:
        return KeyColumn(place, column, masked(column), planner.single(column), planner.by_bytes(column))

    def value(column: Column) -> ValueColumn:
        id_, again = table.value_ids[column.name], table.added_again.get(column.name)
        return ValueColumn(id_, column, masked(column), planner.value(column), again)

    return TablePlan(**planner.fields(key, value), generation=generation)
