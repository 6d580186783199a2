"""The lane's rows in `cdc_offsets`. There is no transaction: rows are written before the offset, and a writer that lost
the lane is noticed by its row, whose version is below its successor's, so whatever it still writes moves no offset.

Two that claim at once may draw the same epoch. Each reads back whose row stands; the other claims again, above it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

import pyarrow as pa

from cdc_pipeline.change import Position
from cdc_pipeline.errors import LaneLost, TransientSinkError
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.shared import OFFSETS, named
from cdc_pipeline.offsets import Lane, LaneState, fenced

_EPOCH_BITS = 40
_CLAIMS = 10

_NEWEST = """
SELECT commitlog_file, commitlog_position, events_processed, epoch, last_committed_at, run_id, version, writer
FROM {table} WHERE destination = {{destination:String}} AND partition_id = {{shard:String}} AND version > 0
ORDER BY version DESC, writer DESC LIMIT 1
"""
_SEGMENTS = """
SELECT DISTINCT commitlog_file FROM {table}
WHERE destination = {{destination:String}} AND partition_id = {{shard:String}} AND commitlog_file != ''
"""


@dataclass(frozen=True)
class Held:
    """A lane's newest row: its state, its version, and whose it is."""

    state: LaneState
    version: int
    writer: str


class Offsets:
    """The offsets behind one connection; remembers which lanes it claimed, as which writer."""

    def __init__(self, connection: Connection, options: ClickHouseOptions) -> None:
        self._connection = connection
        self._table = named(options, OFFSETS)
        self._writers: dict[tuple[Lane, int], str] = {}

    def newest(self, lane: Lane) -> Held | None:
        """The row that stands; None before the first claim."""
        rows = self._connection.rows_if_there(_NEWEST.format(table=self._table), _of(lane))
        if not rows:
            return None
        file, offset, events, epoch, committed, run_id, version, writer = rows[0]
        at = committed.replace(tzinfo=dt.UTC) if committed.tzinfo is None else committed
        return Held(LaneState(lane, Position(file, offset), events, epoch, at, run_id), version, writer)

    def claim(self, lane: Lane, run_id: str) -> LaneState:
        """Raises the epoch."""
        for _ in range(_CLAIMS):
            before = self.newest(lane)
            state = before.state if before is not None else LaneState(lane)
            epoch, writer = state.epoch + 1, uuid.uuid4().hex
            self._write(lane, state.position, state.events_processed, epoch, 0, run_id, writer)
            found = self.newest(lane)
            if found is not None and found.writer == writer:
                self._writers[lane, epoch] = writer
                return found.state
        raise TransientSinkError(f"destination {lane.destination}: claiming lane {lane} failed: others claim it, too")

    def fence(self, held: LaneState, position: Position) -> tuple[Held, bool]:
        """(the row that stands, whether it stands at `position` already); errors as `fenced`."""
        found = self.newest(held.lane)
        done = fenced(held, found.state if found is not None else None, position)
        assert found is not None
        mine = self._writers.get((held.lane, held.epoch), found.writer)
        if found.writer != mine:
            raise LaneLost(f"lane {held.lane}: expected epoch {held.epoch} to be ours, found another writer in it")
        return found, done is not None

    def move(self, found: Held, position: Position, events: int) -> LaneState:
        """The offset behind a micro-batch that is written."""
        state = found.state
        number = (found.version & ((1 << _EPOCH_BITS) - 1)) + 1
        total = state.events_processed + events
        at = self._write(state.lane, position, total, state.epoch, number, state.run_id, found.writer)
        return LaneState(state.lane, position, total, state.epoch, at, state.run_id)

    def passed(self, lane: Lane, position: Position) -> None:
        """Remembers that a backfill read a segment; moves nothing."""
        self._write(lane, position, 0, 0, 0, "", "")

    def segments(self, lane: Lane) -> frozenset[str]:
        """The names of the segments that the lane has read."""
        rows = self._connection.rows_if_there(_SEGMENTS.format(table=self._table), _of(lane))
        return frozenset(row[0] for row in rows)

    def _write(
        self, lane: Lane, position: Position, events: int, epoch: int, number: int, run_id: str, writer: str
    ) -> dt.datetime:
        at = dt.datetime.now(dt.UTC)
        row = {
            "destination": lane.destination,
            "partition_id": lane.shard,
            "commitlog_file": position.segment,
            "version": epoch << _EPOCH_BITS | number,
            "commitlog_position": position.offset,
            "events_processed": events,
            "last_committed_at": at,
            "epoch": epoch,
            "run_id": run_id,
            "writer": writer,
        }
        self._connection.insert(self._table, pa.Table.from_pylist([row]))
        return at


def _of(lane: Lane) -> dict[str, str]:
    return {"destination": lane.destination, "shard": lane.shard}
