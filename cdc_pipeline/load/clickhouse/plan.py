"""What one Cassandra table becomes in ClickHouse: names, types, keys. Data; `ddl.py` and `view.py` write its SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cdc_pipeline.load.clickhouse import names
from cdc_pipeline.load.clickhouse.types import (
    KEY_IS_EXACT,
    MASKED,
    CellsType,
    ValueType,
    cells_type,
    masked_cells_type,
    value_type,
)
from cdc_pipeline.load.clustering import has_forms
from cdc_pipeline.load.planning import Planner, Shape, Types
from cdc_pipeline.schema import Column, Table

CLUSTERING = "r:ck"
"""The clustering's sort bytes: a range is two of these."""


@dataclass(frozen=True)
class KeyColumn:
    """A primary key column, `place` in it (`p0`, `c0`, …). `by_bytes`: its typed value does not tell keys apart.

    `nullable`: an empty value, which Cassandra may hold there, has a place (profile `exact`).
    """

    place: str
    column: Column
    masked: bool
    type: ValueType
    by_bytes: bool
    nullable: bool

    @property
    def has_forms(self) -> bool:
        """Whether one clustering value may be shown in several forms (`clustering.py`); a `Map` has no order."""
        written = self.place.startswith("c") and has_forms(self)
        return written and not self.type.sql.startswith(("Decimal(", "Map("))

    @property
    def sql(self) -> str:
        """The typed column's type."""
        return f"Nullable({self.type.sql})" if self.nullable else self.type.sql

    @property
    def raw(self) -> str:
        """The serialized bytes beside it; only where `by_bytes`."""
        return f"{self.place}:b"

    @property
    def index_name(self) -> str:
        """The column that identifies it."""
        return self.raw if self.by_bytes else self.place


@dataclass(frozen=True)
class ValueColumn:
    """A static or regular column; `id` counts in `Table.value_columns`. `type` None: a counter.

    One that was dropped and added again keeps its cells apart from those of before, which may be of another type: they
    are named by the time when it was dropped (`dropped_micros`).
    """

    id: int
    column: Column
    masked: bool
    type: ValueType | CellsType | None
    dropped_micros: int | None = None

    def part(self, prefix: str) -> str:
        """One of its columns in the state table: `v` the cell or cells, `d` the column's deletion, `o` a counter's
        shards by their writetimes."""
        again = f"@{self.dropped_micros}" if self.dropped_micros is not None else ""
        return f"{prefix}{again}:{self.column.name}"

    @property
    def is_simple(self) -> bool:
        """Whether it is one cell."""
        return isinstance(self.type, ValueType)

    @property
    def sql(self) -> str:
        """The type in the view."""
        return "Nullable(Int64)" if self.type is None else self.type.public


@dataclass(frozen=True)
class TablePlan(Shape[KeyColumn, ValueColumn]):
    """A table's shape in ClickHouse.

    `rendering` is the version of the state whose user types values are shown with. `fast`: users see a row by its last
    write, without a look at every cell. `state_database` and `prefix` as in `ClickHouseOptions`.
    """

    fast: bool = False
    state_database: str = "cdc"
    prefix: str = ""
    rendering: int = 0

    def _state(self, part: str = "") -> str:
        return f"{names.quoted(self.state_database)}.{names.quoted(names.state_table(self.table, part))}"

    @cached_property
    def state(self) -> str:
        """The table of rows, quoted."""
        return self._state()

    @cached_property
    def static_state(self) -> str:
        """The table of static rows, quoted."""
        return self._state("static")

    @cached_property
    def ranges(self) -> str:
        """The ledger of range tombstones and partition deletions, quoted."""
        return self._state("ranges")

    @property
    def database(self) -> str:
        """The database that users read, not quoted."""
        return names.database(self.table.keyspace, self.prefix, self.state_database)

    @property
    def public(self) -> str:
        """The view that users read, quoted."""
        return f"{names.quoted(self.database)}.{names.quoted(self.table.name)}"

    @cached_property
    def partition_names(self) -> tuple[str, ...]:
        """The columns that identify a partition."""
        return tuple(key.index_name for key in self.partition_key)

    @cached_property
    def row_key(self) -> tuple[str, ...]:
        """The columns that identify a row, in the order in which rows lie.

        Typed clustering columns, for a filter on them to find rows by the index, up to the first that does not tell
        values apart: the clustering's sort bytes do.
        """
        exact: list[str] = []
        for key in self.clustering:
            if key.by_bytes:
                return (*self.partition_names, *exact, CLUSTERING)
            exact.append(key.place)
        return (*self.partition_names, *exact)


_TYPES: Types[ValueType, CellsType | None] = Types(
    value_type, cells_type, MASKED, masked_cells_type, counter=None, exact_keys=KEY_IS_EXACT
)


def make_plan(
    table: Table,
    profile: str,
    overrides: Mapping[str, str],
    masked: Callable[[Column], bool],
    excluded: Callable[[Column], bool] = lambda _: False,
) -> TablePlan:
    """The plan of a table; `overrides` maps `keyspace.table.column` to a ClickHouse type.

    `ConfigurationError` for an override that its column cannot take.
    """

    planner = Planner(table, profile, overrides, masked, excluded, _TYPES)

    def key(place: str, column: Column) -> KeyColumn:
        kind = planner.single(column)
        alone = place == "p0" and len(table.partition_key) == 1
        nullable = profile == "exact" and kind.nullable and not alone and not kind.scalar.holds_empty
        return KeyColumn(place, column, masked(column), kind, planner.by_bytes(column), nullable)

    def value(column: Column) -> ValueColumn:
        id_, again = table.value_ids[column.name], table.added_again.get(column.name)
        return ValueColumn(id_, column, masked(column), planner.value(column), again)

    return TablePlan(**planner.fields(key, value))
