"""One Cassandra table as the decoder and the destinations see it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from cdc_pipeline.types import CqlType, CustomType, Scalar


class ColumnKind(StrEnum):
    """`kind` of `system_schema.columns`."""

    PARTITION_KEY = "partition_key"
    CLUSTERING = "clustering"
    STATIC = "static"
    REGULAR = "regular"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: name as Cassandra holds it (case-sensitive), kind, type, and the order of a clustering column."""

    name: str
    kind: ColumnKind
    type: CqlType
    position: int = -1
    descending: bool = False

    @property
    def is_key(self) -> bool:
        """Part of the primary key."""
        return self.kind in (ColumnKind.PARTITION_KEY, ColumnKind.CLUSTERING)


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A row of `system_schema.dropped_columns`: cells at or before `dropped_micros` (µs) are gone."""

    name: str
    kind: ColumnKind
    type: CqlType
    dropped_micros: int


@dataclass(frozen=True)
class Table:
    """A table, its columns in CQL's order (partition key, clustering, then the others by name).

    `flags` are those of `system_schema.tables`; `cdc` is false where Cassandra says null. `version` orders two states
    of one table: the greatest writetime (µs) of what the log said about it, 0 where only a snapshot did.
    `complete_since` is the place of a counter table's CREATE in the log, with CDC on ever since; None: not known.
    """

    keyspace: str
    name: str
    id: uuid.UUID
    columns: tuple[Column, ...]
    dropped: tuple[DroppedColumn, ...] = ()
    cdc: bool = False
    flags: frozenset[str] = field(default_factory=lambda: frozenset({"compound"}))
    is_view: bool = False
    gc_grace_seconds: int = 864000
    durable_writes: bool = True
    complete_since: str | None = None
    version: int = field(default=0, compare=False)

    @property
    def full_name(self) -> str:
        """`keyspace.table`."""
        return f"{self.keyspace}.{self.name}"

    @cached_property
    def partition_key(self) -> tuple[Column, ...]:
        """The partition key's columns in order."""
        return self._of(ColumnKind.PARTITION_KEY)

    @cached_property
    def clustering(self) -> tuple[Column, ...]:
        """The clustering columns in order."""
        return self._of(ColumnKind.CLUSTERING)

    @cached_property
    def primary_key(self) -> tuple[Column, ...]:
        """Partition key, then clustering columns."""
        return self.partition_key + self.clustering

    @cached_property
    def static(self) -> tuple[Column, ...]:
        """Static columns by name."""
        return self._of(ColumnKind.STATIC)

    @cached_property
    def regular(self) -> tuple[Column, ...]:
        """Regular columns by name."""
        return self._of(ColumnKind.REGULAR)

    @cached_property
    def values(self) -> tuple[Column, ...]:
        """What cells belong to: static and regular columns; a cell's column id counts in here."""
        return self.static + self.regular

    @property
    def is_counter(self) -> bool:
        """Whether its values are counters."""
        return "counter" in self.flags or any(c.type == Scalar("counter") for c in self.values)

    @cached_property
    def added_again(self) -> dict[str, int]:
        """Columns that were dropped and added again, with the time (µs) at and before which their cells are gone."""
        names = {column.name for column in self.columns}
        return {gone.name: gone.dropped_micros for gone in self.dropped if gone.name in names}

    @cached_property
    def value_ids(self) -> dict[str, int]:
        """Column ids of `values` by name; `dropped` columns that are no longer there follow, in their order."""
        ids = {column.name: index for index, column in enumerate(self.values)}
        for dropped in self.dropped:
            ids.setdefault(dropped.name, len(ids))
        return ids

    @cached_property
    def value_columns(self) -> tuple[Column, ...]:
        """The column of each id of `value_ids`, dropped ones included."""
        by_name = {column.name: column for column in self.values}
        for gone in self.dropped:
            by_name.setdefault(gone.name, Column(gone.name, gone.kind, gone.type))
        return tuple(by_name[name] for name in self.value_ids)

    @property
    def refusal(self) -> str | None:
        """Why this table cannot be loaded, whatever the destination; None when it can."""
        if not self.durable_writes:
            return f"keyspace {self.keyspace} has durable_writes = false: its writes are not in the log"
        if "super" in self.flags or "dense" in self.flags or "compound" not in self.flags:
            simple = "dense" in self.flags and "super" not in self.flags and len(self.regular) == 1
            if not simple or isinstance(self.regular[0].type, CustomType):
                return "COMPACT STORAGE with more than one value column: its visible columns are not those of the log"
        return None

    def _of(self, kind: ColumnKind) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.kind is kind)
