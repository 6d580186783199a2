"""What every destination's plan of a table has: its columns in their places, and how they are typed and masked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, Scalar

COUNTER = Scalar("counter")


class Planned(Protocol):
    """A column of a plan."""

    @property
    def column(self) -> Column:
        """The column in Cassandra."""


K = TypeVar("K", bound=Planned)
V = TypeVar("V", bound=Planned)
S = TypeVar("S")
C = TypeVar("C")


@dataclass(frozen=True)
class Shape(Generic[K, V]):
    """A table's shape in a destination: key columns `K`, values `V`.

    `excluded` names columns that the masking policy does not load. `kept` are dropped columns that users go on to see,
    with what they held.
    """

    table: Table
    profile: str
    partition_key: tuple[K, ...]
    clustering: tuple[K, ...]
    static: tuple[V, ...]
    regular: tuple[V, ...]
    excluded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    kept: tuple[V, ...] = ()

    @property
    def has_clustering(self) -> bool:
        """Whether the table has rows within partitions, and so a ledger of ranges."""
        return bool(self.clustering)

    def shown(self, values: tuple[V, ...]) -> tuple[V, ...]:
        """The static or the regular columns with the dropped ones that are kept among them."""
        if not values:
            return ()
        return values + tuple(one for one in self.kept if one.column.kind is values[0].column.kind)

    @property
    def columns(self) -> tuple[K | V, ...]:
        """All columns that are loaded, keys first."""
        return (*self.partition_key, *self.clustering, *self.static, *self.regular)


@dataclass(frozen=True)
class Types(Generic[S, C]):
    """What a destination makes of CQL types: of single values `S`, of multi-cell columns and counters `C`.

    `exact_keys` names those whose typed values tell keys apart as Cassandra does.
    """

    single: Callable[[CqlType, str, str | None], S]
    cells: Callable[[CqlType, str], C]
    masked: S
    masked_cells: Callable[[CqlType], C]
    counter: C
    exact_keys: Collection[str]


@dataclass(frozen=True)
class Planner(Generic[S, C]):
    """Decides about the columns of one table; `overrides` maps `keyspace.table.column` to a type of the destination."""

    table: Table
    profile: str
    overrides: Mapping[str, str]
    masked: Callable[[Column], bool]
    excluded: Callable[[Column], bool]
    types: Types[S, C]

    def single(self, column: Column) -> S:
        """The type of a key column or another that holds one value; `ConfigurationError` for an override that it cannot
        take."""
        if self.masked(column):
            return self.types.masked
        return self.types.single(column.type, self.profile, self.override(column))

    def value(self, column: Column) -> S | C:
        """The type of a static or regular column."""
        if column.type.multi_cell:
            masked = self.masked(column)
            return self.types.masked_cells(column.type) if masked else self.types.cells(column.type, self.profile)
        if column.type != COUNTER:
            return self.single(column)
        if (override := self.override(column)) is not None:
            raise ConfigurationError(f"expected no other type for a counter, which is a sum, found {override}")
        return self.types.counter

    def override(self, column: Column) -> str | None:
        """What the user asked for."""
        return self.overrides.get(f"{self.table.full_name}.{column.name}")

    def by_bytes(self, column: Column) -> bool:
        """Whether a key column's typed value does not tell keys apart."""
        named = isinstance(column.type, Scalar) and column.type.name in self.types.exact_keys
        return not self.masked(column) and not (named and self.override(column) is None)

    def fields(self, key: Callable[[str, Column], K], value: Callable[[Column], V]) -> dict[str, Any]:
        """The fields of a `Shape`; `key` makes a key column of its place (`p0`, `c0`, …)."""
        table, current = self.table, {column.name for column in self.table.columns}
        loaded = [column for column in table.value_columns if not self.excluded(column)]
        masked = [column.name for column in table.clustering if self.masked(column)]
        warning = "clustering column {} is masked: equality works, range deletes over it are parked"
        return {
            "table": table,
            "profile": self.profile,
            "partition_key": tuple(key(f"p{at}", column) for at, column in enumerate(table.partition_key)),
            "clustering": tuple(key(f"c{at}", column) for at, column in enumerate(table.clustering)),
            "static": tuple(value(column) for column in table.static if not self.excluded(column)),
            "regular": tuple(value(column) for column in table.regular if not self.excluded(column)),
            "excluded": tuple(column.name for column in table.values if self.excluded(column)),
            "warnings": tuple(map(warning.format, masked)),
            "kept": tuple(value(column) for column in loaded if column.name not in current),
        }
