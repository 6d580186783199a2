"""Decoding while Cassandra writes: a thread that reads `cdc_raw` up to what `_cdc.idx` says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cdc_pipeline.capture import ShardLog
from cdc_pipeline.change import Position
from cdc_pipeline.decode import DecodedBatch, Decoder, dump_lines
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema, Table
from cdc_pipeline_tests.types.values import int_bytes

FENCE = "live_fence.fence"
"""The table whose rows say how far a follower has to come."""

_POLL_SECONDS = 0.005


def not_cassandras_own(table: Table) -> bool:
    """What Cassandra's own reader is made to show."""
    return table.keyspace not in SYSTEM_KEYSPACES


class Follower(threading.Thread):
    """Decodes behind a position until the fence with a number is read. `lines` is the dump, `position` its end."""

    def __init__(self, cdc_raw: Path, schema: Schema, after: Position, fence: int) -> None:
        super().__init__(name="follower", daemon=True)
        self._log = ShardLog("live", cdc_raw)
        self._decoder = Decoder(schema, not_cassandras_own)
        self._fence = int_bytes(fence)
        self._stopped = threading.Event()
        self._at = after
        self.position: Position | None = None
        self.lines: list[bytes] = []
        self.damage: list[str] = []
        self.batches = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Reads what became durable, again and again."""
        try:
            while self.position is None and not self._stopped.is_set():
                for batch in self._durable():
                    self._take(batch)
                time.sleep(_POLL_SECONDS)
        except BaseException as error:
            self.error = error

    def wait(self, seconds: float) -> Position:
        """Where the fence stands, once it is read; `AssertionError` when it does not come in time."""
        self.join(seconds)
        self._stopped.set()
        self.join(seconds)
        if self.error is not None:
            raise self.error
        assert self.position is not None, f"the fence was not read, found {self._at} instead"
        return self.position

    def _durable(self) -> Iterator[DecodedBatch]:
        for state in self._log.waiting(self._at):
            after = self._at.offset if state.path.name == self._at.segment else 0
            if state.durable is None or state.durable > after:
                yield from self._decoder.read(state.path, after, state.durable)

    def _take(self, batch: DecodedBatch) -> None:
        self._at = batch.position
        self.batches += bool(batch.tables)
        self.damage += [str(one.error) for one in batch.damage]
        self.lines += [line.encode() for line in dump_lines(batch.tables)]
        for change in batch.tables:
            if change.table.full_name == FENCE and self._fence in change.rows.column("key0").to_pylist():
                self.position = Position(batch.segment, change.rows.column("position").to_pylist()[-1])
