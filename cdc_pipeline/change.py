"""What travels through the pipeline: positions, batches of changes as Arrow columns, and one change made readable.

`ChangeBatch` holds the changes of one table in the log's order in two record batches, both straight from the
decoder's buffers:

* `rows`, one per row, static row, range tombstone or partition deletion: `kind`, `update` (number of the partition
  update in this reading), `position` (logical, bytes), `live_ts, live_ttl, live_local` and `del_ts, del_local` (µs,
  s, s; a timestamp of -2^63 is "none"), `cell_end` (index behind its last cell), `key0…` and `ck0…` (serialized
  parts of the primary key).
* `cells`, one per cell or deletion of a multi-cell column: `column` (index in `Table.value_columns`), `kind`, `ts`
  (µs), `ttl`, `local` (s), `path` and `value` (serialized).

Cells stay long, not wide, because they are merged one by one, and because an absent cell then costs nothing;
destinations make the columns that they need (`apply.md`, section 1).
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, total_ordering
from typing import TYPE_CHECKING, Any, NamedTuple

from cdc_pipeline.errors import SegmentError
from cdc_pipeline.schema import ChangeKind, Table

if TYPE_CHECKING:
    import pyarrow as pa

NO_TIMESTAMP = -(2**63)
"""Stands for "no liveness" and "no deletion"."""

_NAMESPACE = uuid.UUID("5a1b9a0e-6d0b-5f0c-9d7e-cdc000000001")
_SEGMENT_NAME = re.compile(r"CommitLog-(\d+)-(\d+)\.log")


class SegmentName(NamedTuple):
    """The parts of `CommitLog-<version>-<id>.log`."""

    version: int
    id: int


def parse_segment_name(name: str) -> SegmentName | None:
    """Version and id of a segment's file name; None when it is no segment's."""
    found = _SEGMENT_NAME.fullmatch(name)
    return SegmentName(int(found[1]), int(found[2])) if found else None


@total_ordering
@dataclass(frozen=True, slots=True)
class Position:
    """A place in a shard's log: segment file and logical position (3.5) behind an entry. Ordered by segment id."""

    segment: str
    offset: int

    def _key(self) -> tuple[int, int]:
        name = parse_segment_name(self.segment)
        return (name.id if name else -1, self.offset)

    def __lt__(self, other: Position) -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"


START = Position("", 0)
"""Before everything: what a lane has that never loaded."""


class RowKind:
    """Values of `rows.kind`, as the decoder writes them."""

    ROW, STATIC, RANGE, PARTITION, NOTHING = range(5)


class CellKind:
    """Values of `cells.kind`, as the decoder writes them."""

    LIVE, TOMBSTONE, EXPIRING, COLUMN_DELETION = range(4)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that gave no change: the error with its place, how many bytes, and the table where it is known.

    `kind`: `entry` (one mutation, corrupt), `section` (the rest of a section or of a segment), `table` and `column`
    (a mutation that the schema at hand cannot read), `schema` (a change of the schema that cannot be followed).
    `mutation` are the whole bytes of one that cannot be read, `position` the logical position behind its entry.
    """

    kind: str
    error: SegmentError
    size: int = 0
    table_id: uuid.UUID | None = None
    column: str | None = None
    mutation: bytes | None = field(default=None, repr=False)
    position: int | None = None


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What DDL or TRUNCATE did at a place of the log: what lies before it has the old schema, what follows the new.

    `table` is None for a change of a keyspace or of user types; `detail` says more in words. `truncated_micros` (µs):
    all that was written at or before it is gone from the table.
    """

    kind: ChangeKind
    position: Position
    keyspace: str
    table: str | None = None
    table_id: uuid.UUID | None = None
    column: str | None = None
    detail: str = ""
    truncated_micros: int | None = None

    def __str__(self) -> str:
        name = ".".join(part for part in (self.keyspace, self.table, self.column) if part is not None)
        return f"{name} {self.kind}{f' ({self.detail})' if self.detail else ''}"


class EventType(StrEnum):
    """What a change did, as far as the log tells (format document, 8.3)."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    RANGE_DELETE = "range_delete"
    PARTITION_DELETE = "partition_delete"


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a range tombstone in storage order: a prefix of clustering values (serialized), inclusive or not."""

    values: tuple[bytes | None, ...]
    inclusive: bool


@dataclass(frozen=True, slots=True)
class CellChange:
    """One cell, serialized: `column` None-valued for tombstones; `path` for multi-cell columns."""

    column: str
    kind: int
    timestamp_micros: int
    ttl_seconds: int | None
    local_seconds: int | None
    path: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class ChangeEvent:
    """One change, readable: a view of a row of a `ChangeBatch`, for people, tests and the dead letters.

    `columns` maps names to serialized values (None = deleted; multi-cell columns to {path: value});
    `timestamp_micros` is the row's (liveness, else the greatest of its cells or its deletion).
    `event_id` is the same whenever the same bytes are read again.
    """

    event_id: uuid.UUID
    event_type: EventType
    keyspace: str
    table_name: str
    partition_key: Mapping[str, bytes]
    clustering_key: Mapping[str, bytes | None]
    columns: Mapping[str, Any]
    cells: tuple[CellChange, ...]
    timestamp_micros: int
    deleted_micros: int | None
    ttl_seconds: int | None
    is_static: bool
    captured_at: dt.datetime
    position: Position
    start: Bound | None = None
    end: Bound | None = None


@dataclass(frozen=True)
class ChangeBatch:
    """Changes of one table from one segment, in the log's order.

    `make_rows` and `make_cells` are called once, when `rows` and `cells` are first looked at: to load Arrow takes
    longer than to decode the first hundred thousand mutations.
    """

    table: Table
    segment: str
    make_rows: Callable[[], pa.RecordBatch]
    make_cells: Callable[[], pa.RecordBatch]
    ranges: tuple[tuple[Bound, Bound], ...] = ()
    captured_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @cached_property
    def rows(self) -> pa.RecordBatch:
        """One per row, static row, range tombstone or partition deletion; the columns stand above."""
        return self.make_rows()

    @cached_property
    def cells(self) -> pa.RecordBatch:
        """One per cell or deletion of a multi-cell column."""
        return self.make_cells()

    @property
    def changes(self) -> int:
        """Rows, static rows, range tombstones and partition deletions; updates that say nothing are none."""
        kinds = self.rows.column("kind").to_numpy()
        return int((kinds != RowKind.NOTHING).sum())

    def events(self) -> Iterator[ChangeEvent]:
        """Each change as a readable event, in order."""
        for _, event in self.indexed_events():
            yield event

    def indexed_events(self, only: Container[int] | None = None) -> Iterator[tuple[int, ChangeEvent]]:
        """(index in `rows`, event) of each change, or of those whose index is in `only`."""
        rows = self.rows.to_pydict()
        ranges = iter(self.ranges)
        ordinals: dict[int, int] = {}
        begin = 0
        for index, kind in enumerate(rows["kind"]):
            first, begin = begin, rows["cell_end"][index]
            bounds = next(ranges) if kind == RowKind.RANGE else (None, None)
            if kind == RowKind.NOTHING:
                continue
            position = rows["position"][index]
            ordinals[position] = ordinal = ordinals.get(position, -1) + 1
            if only is None or index in only:
                cells = self.cells.slice(first, begin - first).to_pylist()
                yield index, self._event({name: column[index] for name, column in rows.items()}, cells, bounds, ordinal)

    def _event(
        self, row: dict[str, Any], cells: list[dict[str, Any]], bounds: tuple[Bound | None, Bound | None], ordinal: int
    ) -> ChangeEvent:
        table = self.table
        changes = tuple(self._cell(cell) for cell in cells)
        identity = f"{self.segment}:{row['position']}:{table.id}:{ordinal}"
        stamps = [row["live_ts"], row["del_ts"], *(cell.timestamp_micros for cell in changes)]
        return ChangeEvent(
            event_id=uuid.uuid5(_NAMESPACE, identity),
            event_type=_event_type(row, changes),
            keyspace=table.keyspace,
            table_name=table.name,
            partition_key={c.name: row[f"key{i}"] for i, c in enumerate(table.partition_key)},
            clustering_key=(
                {c.name: row[f"ck{i}"] for i, c in enumerate(table.clustering)} if row["kind"] == RowKind.ROW else {}
            ),
            columns=_columns(changes),
            cells=changes,
            timestamp_micros=row["live_ts"] if row["live_ts"] != NO_TIMESTAMP else max(stamps),
            deleted_micros=None if row["del_ts"] == NO_TIMESTAMP else row["del_ts"],
            ttl_seconds=row["live_ttl"] or next((c.ttl_seconds for c in changes if c.ttl_seconds), None),
            is_static=row["kind"] == RowKind.STATIC,
            captured_at=self.captured_at,
            position=Position(self.segment, row["position"]),
            start=bounds[0],
            end=bounds[1],
        )

    def _cell(self, cell: dict[str, Any]) -> CellChange:
        kind = cell["kind"]
        return CellChange(
            column=self.table.value_columns[cell["column"]].name,
            kind=kind,
            timestamp_micros=cell["ts"],
            ttl_seconds=cell["ttl"] if kind == CellKind.EXPIRING else None,
            local_seconds=None if kind == CellKind.LIVE else cell["local"],
            path=cell["path"],
            value=cell["value"],
        )


def _columns(cells: tuple[CellChange, ...]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for cell in cells:
        if cell.path is not None:
            held = columns.get(cell.column)
            columns[cell.column] = {**(held if isinstance(held, dict) else {}), cell.path: cell.value}
        else:
            columns.setdefault(cell.column, cell.value)
    return columns


def _event_type(row: dict[str, Any], cells: tuple[CellChange, ...]) -> EventType:
    if row["kind"] == RowKind.PARTITION:
        return EventType.PARTITION_DELETE
    if row["kind"] == RowKind.RANGE:
        return EventType.RANGE_DELETE
    if row["live_ts"] != NO_TIMESTAMP:
        return EventType.INSERT
    return EventType.DELETE if row["del_ts"] != NO_TIMESTAMP and not cells else EventType.UPDATE
