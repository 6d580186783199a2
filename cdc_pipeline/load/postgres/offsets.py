"""The lane's row in `cdc.cdc_offsets`: claimed by raising its epoch, moved by compare-and-set."""

from __future__ import annotations

from typing import Any

import psycopg

from cdc_pipeline.change import Position
from cdc_pipeline.errors import LaneLost
from cdc_pipeline.offsets import Lane, LaneState, fenced

_COLUMNS = "commitlog_file, commitlog_position, events_processed, epoch, last_committed_at, run_id"
_CLAIM = f"""
INSERT INTO cdc.cdc_offsets AS o
  (destination, partition_id, commitlog_file, commitlog_position, events_processed, last_committed_at, epoch, run_id)
VALUES (%s, %s, '', 0, 0, clock_timestamp(), 1, %s)
ON CONFLICT (destination, partition_id) DO UPDATE SET epoch = o.epoch + 1, run_id = excluded.run_id
RETURNING {_COLUMNS}
"""
_READ = f"SELECT {_COLUMNS} FROM cdc.cdc_offsets WHERE destination = %s AND partition_id = %s"
_MOVE = f"""
UPDATE cdc.cdc_offsets SET commitlog_file = %s, commitlog_position = %s, events_processed = events_processed + %s,
  last_committed_at = clock_timestamp()
WHERE destination = %s AND partition_id = %s AND epoch = %s AND commitlog_file = %s AND commitlog_position = %s
RETURNING {_COLUMNS}
"""

_PASSED = """
INSERT INTO cdc.cdc_segments AS s VALUES (%s, %s, %s, %s)
ON CONFLICT (destination, partition_id, commitlog_file)
DO UPDATE SET commitlog_position = excluded.commitlog_position WHERE excluded.commitlog_position > s.commitlog_position
"""
_SEGMENTS = "SELECT commitlog_file FROM cdc.cdc_segments WHERE destination = %s AND partition_id = %s"

Connection = psycopg.Connection[Any]


_PATIENCE = "SET LOCAL lock_timeout = '5s'"
"""A writer in the middle of a transaction is waited for this long at a time; each time is a word in the log."""


def claim(connection: Connection, lane: Lane, run_id: str) -> LaneState:
    """Raises the epoch; the row is made on the first claim."""
    connection.execute(_PATIENCE)
    row = connection.execute(_CLAIM, (lane.destination, lane.shard, run_id)).fetchone()
    return _state(lane, row)


_END_PAUSED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND wait_event = 'ClientRead'
  AND now() - query_start > nullif(current_setting('idle_in_transaction_session_timeout'), '0')::interval
  AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'cdc.cdc_offsets'::regclass AND granted
              AND mode IN ('RowShareLock', 'RowExclusiveLock'))
"""


def end_paused(connection: Connection) -> None:
    """Ends sessions that hold a lane while their writer is paused in the middle of a COPY, which the server does not
    count as idle. What they did is rolled back."""
    connection.execute(_END_PAUSED)


def read(connection: Connection, lane: Lane) -> LaneState | None:
    """The row as it is, or None."""
    if connection.execute("SELECT to_regclass('cdc.cdc_offsets')").fetchone() == (None,):
        return None
    row = connection.execute(_READ, (lane.destination, lane.shard)).fetchone()
    return None if row is None else _state(lane, row)


def fence(connection: Connection, held: LaneState, position: Position) -> LaneState | None:
    """Locks the row and compares position and epoch before anything is written (`fenced`).

    A transaction of ours whose reply was lost may still be about to commit when we are back: its lock is not waited for
    but tried again (SQLSTATE 55P03), because whose connection was cut it may hold it for long.
    """
    lane = held.lane
    row = connection.execute(_READ + " FOR UPDATE NOWAIT", (lane.destination, lane.shard)).fetchone()
    return fenced(held, None if row is None else _state(lane, row), position)


def move(connection: Connection, held: LaneState, position: Position, events: int) -> LaneState:
    """Compare-and-set in the transaction of the rows."""
    lane, old = held.lane, held.position
    row = connection.execute(
        _MOVE,
        (position.segment, position.offset, events, lane.destination, lane.shard, held.epoch, old.segment, old.offset),
    ).fetchone()
    if row is None:
        raise LaneLost(f"lane {lane}: epoch {held.epoch} no longer holds it")
    passed(connection, lane, position)
    return _state(lane, row)


def passed(connection: Connection, lane: Lane, position: Position) -> None:
    """Remembers how far a segment was read."""
    connection.execute(_PASSED, (lane.destination, lane.shard, position.segment, position.offset))


def segments(connection: Connection, lane: Lane) -> frozenset[str]:
    """The names of the segments that the lane has read."""
    if connection.execute("SELECT to_regclass('cdc.cdc_segments')").fetchone() == (None,):
        return frozenset()
    rows = connection.execute(_SEGMENTS, (lane.destination, lane.shard)).fetchall()
    return frozenset(row[0] for row in rows)


def _state(lane: Lane, row: Any) -> LaneState:
    file, offset, events, epoch, committed, run_id = row
    return LaneState(lane, Position(file, offset), events, epoch, committed, run_id)
