"""The way of one micro-batch, from the log to a committed destination, top to bottom.

capture     which bytes of which segments are safe to read
decode      segments to batches of changes, one per table
fit         compact to one row per key, mask, type; what cannot go on is parked alone   (`fitting.py`)
apply       rows + dead letters + offset in one transaction, retried while the server is down
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeVar

import structlog

from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.change import START
from cdc_pipeline.decode import DecodedBatch, Decoder
from cdc_pipeline.errors import CdcError, RowsRefused
from cdc_pipeline.fitting import Fitter
from cdc_pipeline.following import LogReader
from cdc_pipeline.load import Sink
from cdc_pipeline.observability.metrics import Metrics
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.results import LaneResult, Prepared
from cdc_pipeline.retry import Retry
from cdc_pipeline.schema import Schema
from cdc_pipeline.transform import TableMasks

T = TypeVar("T")

log = structlog.get_logger()


class LaneRunner:
    """One destination x one shard; `masks` holds the tables that are loaded, by full name."""

    def __init__(
        self,
        lane: Lane,
        source: ShardLog,
        decoder: Decoder,
        schema: Schema,
        masks: Mapping[str, TableMasks],
        sink: Sink,
        retry: Retry | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.lane = lane
        self.source = source
        self.sink = sink
        self.result = LaneResult()
        self.on_commit: Callable[[LaneRunner], None] = lambda _: None
        self._log = LogReader(source, decoder, self._problem)
        self._fitter = Fitter(lane, schema, masks, sink)
        self._masks = masks
        self._retry = retry or Retry()
        self._metrics = metrics or Metrics()
        self._since = time.monotonic()

    def open(self, run_id: str) -> LaneState:
        """Prepares the destination's tables and takes the lane from any older writer."""
        self.prepare_tables()
        self.result.state = self._trying(lambda: self.sink.claim(self.lane, run_id))
        return self.result.state

    def drain(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Loads what is durable now; returns the number of micro-batches. `open` comes first.

        Stops between two micro-batches when asked to. `LaneLost` when another writer took over, another `SinkError`
        when the destination stays down or refuses for good; nothing is half-applied then.
        """
        done = 0
        for segment in self._log.waiting(self.held.position):
            for decoded in self._log.read(segment, self.held.position):
                self._commit(decoded)
                done += 1
                if should_stop():
                    return done
        return done

    def close(self) -> None:
        """Lets go of the segment that is being followed. May be repeated."""
        self._log.close()

    def backfill(self, segments: Iterable[SegmentState], tables: Collection[str] | None = None) -> LaneResult:
        """Loads segments again, in the order given, whatever the offsets say; they stay as they are."""
        self.prepare_tables()
        for segment in segments:
            for decoded in self.reading(segment, tables):
                self.reload(self.prepared(decoded), lambda decoded=decoded: decoded)  # type: ignore[misc]
        return self.result

    def prepare_tables(self) -> None:
        """Creates or migrates the tables of this lane. May be repeated."""
        tables = [(masks.table, masks) for masks in self._masks.values()]
        self._trying(lambda: self.sink.prepare(tables))

    def reading(self, segment: SegmentState, tables: Collection[str] | None = None) -> Iterator[DecodedBatch]:
        """The whole of a segment, whatever the offsets say; raw values, which go no further than `prepared`."""
        for decoded in self._log.read(dataclasses.replace(segment, problem=None), START):
            yield _only(decoded, tables)

    def prepared(self, decoded: DecodedBatch) -> Prepared:
        """A micro-batch compacted, masked and typed."""
        return self._fitter.prepare(decoded)

    def reload(self, prepared: Prepared, again: Callable[[], DecodedBatch]) -> None:
        """One micro-batch without an offset; `again` decodes it once more when the server refuses rows of it."""
        self._write(prepared, again, lambda p: self.sink.load(self.lane, p.batches, p.letters, p.position))

    def _commit(self, decoded: DecodedBatch) -> None:
        """One micro-batch: all of it, or none."""
        held = self.held

        def apply(prepared: Prepared) -> None:
            self.result.state = self.sink.apply(
                held, prepared.batches, prepared.letters, prepared.position, prepared.events
            )

        self._write(self._fitter.prepare(decoded), lambda: decoded, apply)

    def _write(self, prepared: Prepared, again: Callable[[], DecodedBatch], write: Callable[[Prepared], None]) -> None:
        """Writes a micro-batch; rows that the server refuses are found and parked, and the others written."""
        try:
            self._trying(lambda: write(prepared))
        except RowsRefused:
            prepared = self._trying(lambda: self._fitter.prepare(again(), probing=True))
            self._trying(lambda: write(prepared))
        self._written(prepared)

    # --- around it ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> LaneState:
        """The lane as this writer holds it."""
        if self.result.state is None:
            raise CdcError(f"lane {self.lane}: expected open() before anything else")
        return self.result.state

    def _trying(self, call: Callable[[], T]) -> T:
        return self._retry.call(call, self._metrics.failed)

    def _problem(self, message: str) -> None:
        if message not in self.result.problems:
            self.result.problems.append(message)
            log.warning("segment problem", message=message)

    def _written(self, prepared: Prepared) -> None:
        """Counts, metrics and the caller's own, once a micro-batch is committed."""
        self.result.add(prepared)
        destination, shard = self.lane.destination, self.lane.shard
        for table, changes in prepared.changes.items():
            self._metrics.processed(destination, table, changes)
        for letter in prepared.letters:
            self._metrics.parked(destination, str(letter.reason))
        now = time.monotonic()
        rate, self._since = prepared.events / max(now - self._since, 1e-6), now
        if prepared.newest is not None:
            self.result.lag_seconds = max(0.0, time.time() - prepared.newest / 1e6)
        self._metrics.lane(destination, shard, lag=self.result.lag_seconds, rate=rate)
        self.on_commit(self)


def _only(decoded: DecodedBatch, tables: Collection[str] | None) -> DecodedBatch:
    """The batch with the changes of some tables."""
    if tables is None:
        return decoded
    kept = tuple(batch for batch in decoded.tables if batch.table.full_name in tables)
    return dataclasses.replace(decoded, tables=kept)
