"""What the pipeline asks of a destination. Each method says whether it may be repeated and when an offset moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterCount, DeadLetterEvent
from cdc_pipeline.errors import RowError
from cdc_pipeline.load.parity import Parity, TruthRow
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskedBatch, TableMasks


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A column as `plan` shows it: CQL type, destination type, mask (`-` for none)."""

    name: str
    kind: str
    cql_type: str
    target_type: str
    mask: str


@dataclass(frozen=True)
class TableSummary:
    """A table as `plan` shows it; `refusal` says why it is not loaded, `notes` what is worth knowing."""

    table: str
    target: str
    columns: tuple[ColumnSummary, ...]
    ddl: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Truncation:
    """A table that was emptied at a time: what was written at or before `ts` (µs) is gone, whenever it arrives.

    `dropped`: Cassandra has it no more; whether its rows go here, too, is the user's to choose.
    """

    table: Table
    ts: int
    dropped: bool = False


@dataclass(frozen=True)
class Encoded:
    """A batch ready to be sent: `payload` is the destination's own; `failures` maps rows to why they do not fit.

    `apart` is a payload of the same changes, not merged, for a table whose history is kept."""

    payload: Any
    failures: dict[int, RowError] = field(default_factory=dict)
    apart: Any = None


@dataclass
class Purged:
    """One pass of a purge over a table: rows and ranges that went, rows that lost dead elements of collections, rows
    newly noted as dead; `retention` in seconds."""

    table: str
    retention: float
    rows: int = 0
    ranges: int = 0
    stripped: int = 0
    noted: int = 0


class Sink(Protocol):
    """A destination. One instance per lane and thread."""

    name: str

    def summary(self, table: Table, masks: TableMasks) -> TableSummary:
        """What the table would become. Writes nothing; needs no server."""
        ...

    def prepare(self, tables: Sequence[tuple[Table, TableMasks]]) -> None:
        """Creates or migrates what the tables need. May be repeated, also by two at once.

        Tables that were prepared before stay prepared: changes of an older state of a table are still taken, and users
        go on to see the newest.
        """
        ...

    def forget(self, table: str) -> None:
        """Has the next `prepare` make a table (`keyspace.table`) anew where its state was dropped by hand, which it
        else refuses to, for what was loaded is gone. Other sinks refuse the table until `remember`, behind a backfill
        of the whole archive. May be repeated."""
        ...

    def remember(self, table: str) -> None:
        """The table that was forgotten is whole again. May be repeated."""
        ...

    def claim(self, lane: Lane, run_id: str) -> LaneState:
        """Takes the lane by raising its epoch; an older writer loses at its next `apply`. May be repeated."""
        ...

    def state(self, lane: Lane) -> LaneState | None:
        """The lane's row, without taking the lane; None before its first claim."""
        ...

    def encode(self, masked: MaskedBatch) -> Encoded:
        """Types a batch. Pure; may be repeated."""
        ...

    def merges(self, table: Table) -> bool:
        """Whether the next batch of a prepared table may have rows of one key apart, for the destination to merge."""
        ...

    def keeps_history(self, table: Table) -> bool:
        """Whether each change of a table is wanted by itself, too, as `Encoded.apart`."""
        ...

    def apply(
        self,
        held: LaneState,
        batches: Iterable[Encoded],
        letters: Sequence[DeadLetterEvent],
        position: Position,
        events: int,
        truncations: Sequence[Truncation] = (),
    ) -> LaneState:
        """Rows, truncations, dead letters and the offset in one transaction; returns the new state of the lane.

        May be repeated with the same `held` after `TransientSinkError`: the offset tells whether the first try was
        committed. `LaneLost` when another writer holds the lane, `RowsRefused` when rows are at fault. The offset
        moves here and nowhere else.
        """
        ...

    def segments(self, lane: Lane) -> frozenset[str]:
        """The names of the segments that the lane has read, by drains or backfills."""
        ...

    def load(
        self,
        lane: Lane,
        batches: Iterable[Encoded],
        letters: Sequence[DeadLetterEvent],
        position: Position,
        truncations: Sequence[Truncation] = (),
    ) -> None:
        """Rows, truncations and dead letters for a backfill: the lane's offset stays. May be repeated."""
        ...

    def refusal(self, batch: Encoded) -> str | None:
        """Why the server would not take a batch, in its own code (`SQLSTATE 54000`); None: it would. Tried, and rolled
        back. May be repeated."""
        ...

    def dead_letter_counts(self) -> list[DeadLetterCount]:
        """What is parked, by table and reason. Reads only."""
        ...

    def dead_letters(
        self, table: str | None = None, reason: str | None = None, limit: int = 100
    ) -> list[DeadLetterEvent]:
        """What is parked, the newest first, of one table (`keyspace.table`) or reason when asked. Reads only."""
        ...

    def purge(self, table: Table, retention: float, *, optimize: bool = False) -> Purged:
        """One pass over a prepared table that takes away what nobody saw for `retention` seconds, beside running lanes.
        `optimize`: ClickHouse merges all parts of the table afterwards; others ignore it. May be repeated."""
        ...

    def row_count(self, table: str, within: float = 10.0) -> int | None:
        """Rows that users of a prepared table see; None when counting takes over `within` seconds. Reads only."""
        ...

    def compare(self, table: Table, masks: TableMasks, truth: Iterable[TruthRow], as_of: str) -> Parity:
        """What users read of a table, prepared by this sink or another, at an instant (`as_of`, ISO 8601) against rows
        of serialized values; on a connection of its own. Leaves nothing behind; may be repeated."""
        ...

    def close(self) -> None:
        """Gives the connection back. May be repeated."""
        ...
