"""The way of one micro-batch, from the log to a committed destination, top to bottom.

capture     which bytes of which segments are safe to read
decode      segments to batches of changes, one per table; a micro-batch ends where DDL or TRUNCATE lies among them
schema      what changed there is kept, and the destination's tables are made, before the place is passed (`history/`)
fit         compact to one row per key, mask, type; what cannot go on is parked alone   (`fitting.py`)
apply       rows + truncations + dead letters + offset in one transaction, retried while the server is down

While one micro-batch is applied the next is decoded and fitted, in another thread (`ahead.py`).
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

import structlog

from cdc_pipeline.ahead import one_ahead
from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.capture.loss import begins_without, left_the_archive, removed_unread
from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import DecodedBatch, Decoder
from cdc_pipeline.dlq import Seal, digest
from cdc_pipeline.errors import CdcError, LogGone, RowsRefused
from cdc_pipeline.fitting import Fitter, warm_up
from cdc_pipeline.following import LaneReads, LogReader
from cdc_pipeline.history import ShardSchema
from cdc_pipeline.load import Sink
from cdc_pipeline.loaded import LoadedTables
from cdc_pipeline.observability.metrics import Metrics
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.pace import Pace
from cdc_pipeline.results import LaneResult, Prepared
from cdc_pipeline.retry import Retry
from cdc_pipeline.schema import ChangeKind, Schema, Table
from cdc_pipeline.transform import TableMasks

T = TypeVar("T")

log = structlog.get_logger()


class LaneRunner:
    """One destination x one shard; `tables` says what is loaded and how it is masked, `places` what the schema was."""

    def __init__(
        self,
        lane: Lane,
        source: ShardLog,
        decoder: Decoder,
        tables: LoadedTables,
        places: ShardSchema,
        sink: Sink,
        *,
        retry: Retry | None = None,
        metrics: Metrics | None = None,
        seal: Seal = digest,
        pace: Pace | None = None,
    ) -> None:
        self.lane = lane
        self.source = source
        self.sink = sink
        self.result = LaneResult()
        self.on_commit: Callable[[LaneRunner], None] = lambda _: None
        self.retry = retry or Retry()
        self.should_stop: Callable[[], bool] = lambda: False
        self._decoder = decoder
        self._tables = tables
        self._places = places
        self._schema = decoder.schema
        self.log = LogReader(source, decoder, self._problem)
        self._ready: set[tuple[Table, int]] = set()
        self._fitter = Fitter(lane, tables.masks, sink, seal)
        self._metrics = metrics or Metrics()
        self.pace = pace or Pace()
        self._since = time.monotonic()

    @property
    def loaded(self) -> list[tuple[Table, TableMasks]]:
        """The tables that are loaded where the lane stands."""
        return self._tables.of(self._schema)

    def open(self, run_id: str) -> LaneState:
        """Prepares the destination's tables as they were at the offset, and takes the lane from any older writer."""
        warm_up()
        position = self.prepare_tables()
        self.result.state = self._trying(lambda: self.sink.claim(self.lane, run_id))
        if self.result.state.position != position:  # another writer moved it meanwhile
            self._stand(self.result.state.position)
        self._check_gap(self.result.state.position)
        return self.result.state

    def _check_gap(self, position: Position) -> None:
        """`LogGone` where going on would leave out what the archive no longer has; a new lane begins with what is
        there, and says so."""
        if position == START:
            if without := begins_without(self.source):
                self._problem(f"lane {self.lane}: {without}")
            return
        if gone := removed_unread(self.source, position):
            raise LogGone(
                f"lane {self.lane}: expected the log from {position} on, found that {left_the_archive(gone)}: the "
                "destination is older than the archive's retention; restore a newer one, or put the segments back"
            )

    def drain(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Loads what is durable now; returns the number of micro-batches. `open` comes first.

        Begins at the lane's pace, not before the next commit is due. Stops between two micro-batches when asked to.
        `LaneLost` when another writer took over, another `SinkError` when the destination stays down or refuses for
        good; nothing is half-applied then.
        """
        done = 0
        if not self.pace.wait(lambda: self.source.backlog(self.held.position), should_stop):
            return done
        self._use(self._schema)  # a micro-batch that failed, or a backfill, may have left the decoder elsewhere
        with closing(one_ahead(self._fitted(), _alone)) as batches:
            for decoded, prepared in batches:
                if decoded.segment != self.held.position.segment:
                    self._places.begin(decoded.segment)
                if decoded.events or decoded.relearned:
                    self._evolve(decoded)
                if not decoded.relearned:
                    self._commit(decoded, prepared or self._fitter.prepare(decoded))
                    done += 1
                self._schema = decoded.schema_behind
                if should_stop():
                    break
        return done

    def backfill(self, segments: Iterable[SegmentState], tables: Collection[str] | None = None) -> LaneResult:
        """Loads segments again, in the order given, whatever the offsets say; they stay as they are."""
        self.prepare_tables()
        for segment in segments:
            for decoded in self.reading(segment, tables):
                self.reload(self.prepared(decoded), lambda decoded=decoded: decoded)  # type: ignore[misc]
        return self.result

    def prepare_tables(self) -> Position:
        """Creates or migrates the tables as they were at the lane's offset, which it returns. May be repeated."""
        self._trying(lambda: self.sink.prepare([]))
        state = self._trying(lambda: self.sink.state(self.lane))
        position = state.position if state is not None else START
        self._stand(position)
        return position

    def reading(self, segment: SegmentState, tables: Collection[str] | None = None) -> Iterator[DecodedBatch]:
        """The whole of a segment, whatever the offsets say; raw values, which go no further than `prepared`."""
        for decoded in self._again(segment, {table.id for table, _ in self.loaded}):
            yield _only(decoded, tables)

    def prepared(self, decoded: DecodedBatch) -> Prepared:
        """A micro-batch compacted, masked and typed."""
        self._prepare(self._tables.of(decoded.schema))
        self._prepare([(batch.table, self._tables.masks(batch.table)) for batch in decoded.tables])
        return self._fitter.prepare(decoded)

    def reload(self, prepared: Prepared, again: Callable[[], DecodedBatch]) -> None:
        """One micro-batch without an offset; `again` decodes it once more when the server refuses rows of it."""
        self._write(
            prepared, again, lambda p: self.sink.load(self.lane, p.batches, p.letters, p.position, p.truncations)
        )

    def _fitted(self) -> Generator[tuple[DecodedBatch, Prepared | None]]:
        """What the log brings from here on, fitted where the schema stays; runs in a thread of its own."""
        for decoded in self.log.new(self.held.position):
            yield decoded, None if decoded.events or decoded.relearned else self._fitter.prepare(decoded)

    def _commit(self, decoded: DecodedBatch, prepared: Prepared) -> None:
        """One micro-batch: all of it, or none."""
        held = self.held

        def apply(prepared: Prepared) -> None:
            self.result.state = self.sink.apply(
                held, prepared.batches, prepared.letters, prepared.position, prepared.events, prepared.truncations
            )

        self._write(prepared, lambda: decoded, apply)
        self.pace.committed(decoded.end - decoded.start, prepared.events)

    def _write(self, prepared: Prepared, again: Callable[[], DecodedBatch], write: Callable[[Prepared], None]) -> None:
        """Writes a micro-batch; rows that the server refuses are found and parked, and the others written."""
        try:
            self._trying(lambda: write(prepared))
        except RowsRefused:
            prepared = self._trying(lambda: self._fitter.prepare(again(), probing=True))
            self._trying(lambda: write(prepared))
        self._written(prepared)

    def close(self) -> None:
        """Gives back the segment that is open. May be repeated; the sink is its maker's."""
        self.log.close()

    # --- the schema of the place ---------------------------------------------------------------------------------

    def _stand(self, position: Position) -> None:
        """Takes the schema of a place, and prepares its tables."""
        self._schema = self._places.at(position)
        self._tables.stand(LaneReads(self.source, position, self._segments_read()))
        for problem in self._tables.unseen(self._schema):
            self._problem(problem)
        self._use(self._schema)
        self._ready.clear()
        self._prepare(self._tables.of(self._schema))

    def _segments_read(self) -> frozenset[str]:
        return self._trying(lambda: self.sink.segments(self.lane))

    def _use(self, schema: Schema) -> None:
        for problem in self._places.problems:
            self._problem(problem)
        if self._decoder.schema is not schema:
            self._decoder.use(schema)

    def _prepare(self, tables: Iterable[tuple[Table, TableMasks]]) -> None:
        """Has tables made or migrated that were not yet, as they are here."""
        new = [(table, masks) for table, masks in tables if (table, table.version) not in self._ready]
        if new:
            self._trying(lambda: self.sink.prepare(new))
        self._ready.update((table, table.version) for table, _ in new)

    def _again(self, segment: SegmentState, tables: Collection[uuid.UUID]) -> Iterator[DecodedBatch]:
        """A whole segment with the schema of its time; of these tables also what was written while CDC was off."""
        schema = self._places.at(Position(segment.path.name, 0))
        decoder = self._decoder.like(schema, lambda table: table.id in tables or self._tables.loads(table))
        with closing(LogReader(self.source, decoder, self._problem)) as past:
            for decoded in past.read(dataclasses.replace(segment, problem=None), START):
                if not decoded.relearned:
                    yield decoded

    def _evolve(self, decoded: DecodedBatch) -> None:
        """Before a place is passed where the schema changed: it is kept, tables are made, and those that are loaded
        from here on get what the log at hand holds of them. Each step may be repeated."""
        self._places.record(decoded)
        for problem in self._places.problems:
            self._problem(problem)
        self._prepare(self._tables.of(decoded.schema_behind))
        for event in decoded.events:
            log.info("schema changed", change=str(event), position=str(event.position))
        before = decoded.schema.tables
        late = {
            table.id
            for table, _ in self._tables.of(decoded.schema_behind)
            if table.id in before and not self._tables.loads(before[table.id])
        } - {event.table_id for event in decoded.events if event.kind is ChangeKind.CREATED}  # nothing lies before
        if late:
            self._catch_up(late, decoded.position)

    def _catch_up(self, tables: Collection[uuid.UUID], until: Position) -> None:
        """Loads what the log at hand holds, up to a place, of tables whose CDC was switched on there."""
        read = {*self._segments_read(), until.segment}
        for segment in self.source.segments():
            name = segment.path.name
            for decoded in self._again(segment, tables) if name in read and Position(name, 0) < until else ():
                if decoded.position > until:
                    break
                kept = tuple(batch for batch in decoded.tables if batch.table.id in tables)
                again = dataclasses.replace(decoded, tables=kept, damage=())  # what is damaged was parked before
                if kept or again.events:
                    self.reload(self.prepared(again), lambda again=again: again)  # type: ignore[misc]

    # --- around it ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> LaneState:
        """The lane as this writer holds it."""
        if self.result.state is None:
            raise CdcError(f"lane {self.lane}: expected open() before anything else")
        return self.result.state

    def _trying(self, call: Callable[[], T]) -> T:
        """Calls with further tries; `should_stop` ends a wait for a server that is down."""
        destination, shard = self.lane.destination, self.lane.shard

        def waits(error: BaseException) -> None:
            self._metrics.failed(error)
            self._metrics.waits(destination, shard, True)

        result = self.retry.call(call, waits, self.should_stop)
        self._metrics.waits(destination, shard, False)
        return result

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


def _alone(fitted: tuple[DecodedBatch, Prepared | None]) -> bool:
    """Whether tables change before the next micro-batch can be fitted."""
    decoded, _ = fitted
    return bool(decoded.events) or decoded.relearned


def _only(decoded: DecodedBatch, tables: Collection[str] | None) -> DecodedBatch:
    """The batch with the changes of some tables."""
    if tables is None:
        return decoded
    kept = tuple(batch for batch in decoded.tables if batch.table.full_name in tables)
    return dataclasses.replace(decoded, tables=kept)
