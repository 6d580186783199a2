"""What a shard's log brings beyond a position, as it becomes durable: finished segments and the one being written."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.capture.loss import Seen
from cdc_pipeline.capture.shard import in_order
from cdc_pipeline.change import Damage, Position, parse_segment_name
from cdc_pipeline.decode import DecodedBatch, Decoder
from cdc_pipeline.decode.reader import SegmentReading
from cdc_pipeline.errors import CdcError, SegmentError

_PATIENCE_SECONDS = 10.0
"""How long bytes may be missing that an index calls durable, before it is said."""


@dataclass
class _Missing:
    """Bytes that an index calls durable and that are not there yet."""

    segment: str
    durable: int
    since: float
    told: bool = False


@dataclass
class _Open:
    """A live segment's file, read up to `end`; another file of the same name has another inode."""

    segment: str
    inode: int
    end: int
    reading: SegmentReading


class LaneReads:
    """Whether a lane at a position has read a segment (`read`: names of them), or will read it."""

    def __init__(self, source: ShardLog, position: Position, read: Collection[str]) -> None:
        self._source = source
        self._position = position
        self._read = read

    @cached_property
    def _known(self) -> tuple[frozenset[str], Position]:
        """The segments read or ahead, and the youngest at hand: all behind that one will be read."""
        names = [segment.path.name for segment in self._source.segments()]
        here = Position(self._position.segment, 0)
        ahead = [name for name in names if Position(name, 0) >= here]
        return frozenset([*self._read, *ahead]), max((Position(name, 0) for name in names), default=here)

    def __call__(self, segment: str) -> bool:
        names, youngest = self._known
        return segment in names or Position(segment, 0) > youngest


class LogReader:
    """Reads a shard's log in order. `tell` gets sentences about what could not be read, some more than once.

    `alter` is applied to each batch; benchmarks make other changes of recorded ones.
    """

    def __init__(self, source: ShardLog, decoder: Decoder, tell: Callable[[str], None]) -> None:
        self.source = source
        self._decoder = decoder
        self._tell = tell
        self._seen = Seen()
        self._missing: _Missing | None = None
        self._open: _Open | None = None
        self._whole: list[tuple[SegmentState, Position]] = []  # finished ones that were read, and where they end
        self.alter: Callable[[DecodedBatch], DecodedBatch] = lambda batch: batch

    def new(self, position: Position) -> Iterator[DecodedBatch]:
        """The batches beyond a position that are durable now, in order; each ends at a position to go on from.

        Bytes of a live segment that are not whole yet are left for a later call. Raises `CdcError` for a file that
        may not be read.
        """
        for segment in self.waiting(position):
            for batch in self.read(segment, position):
                position = batch.position
                yield batch

    def waiting(self, position: Position) -> list[SegmentState]:
        """The segments that may hold changes beyond a position, by id; tells what vanished since the last look."""
        for segment, end in self._whole:
            if position >= end:  # what was read ahead is not passed before it is committed
                self._seen.done(segment)
        self._whole.clear()
        at = parse_segment_name(position.segment)
        states = self.source.segments(at.id if at is not None else -1)
        for message in self._seen.look(states, position):
            self._tell(message)
        return in_order(states)

    def close(self) -> None:
        """Lets go of the segment that is being followed. May be repeated."""
        if self._open is not None:
            self._open.reading.__exit__(None, None, None)
            self._open = None

    def read(self, segment: SegmentState, position: Position) -> Iterator[DecodedBatch]:
        """What a segment brings beyond a position, from where it lies now, should it have moved to the archive."""
        name = segment.path.name
        try:
            for batch in self._decode(segment, position):
                position = batch.position
                yield self.alter(batch)
        except FileNotFoundError:
            moved = self.source.segment(name)
            try:
                yield from self._decode(moved, position) if moved is not None else self._vanished(name)
            except FileNotFoundError:
                yield from self._vanished(name)

    def _vanished(self, name: str) -> Iterator[DecodedBatch]:
        self._tell(f"segment {name}: vanished before it was read; with cdc_block_writes: false it may be lost")
        return iter(())

    def _decode(self, segment: SegmentState, position: Position) -> Iterator[DecodedBatch]:
        """Beyond a position; a file whose header is damaged is one damaged place."""
        name = segment.path.name
        if segment.problem is not None:
            self._tell(str(segment.problem))
        if segment.durable == 0:
            return
        after = position.offset if position.segment == name else 0
        try:
            yield from self._sections(segment, after)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CdcError(f"segment {name}: expected a readable file, found: {error.strerror}") from None
        except SegmentError as error:
            if not after:  # not passed yet
                schema = self._decoder.schema
                damage = (Damage("section", error),)
                yield DecodedBatch(name, 0, 1, (), damage, 0, last=True, schema=schema, schema_behind=schema)

    def _sections(self, segment: SegmentState, after: int) -> Iterator[DecodedBatch]:
        """The file of a live segment stays open between two looks, when all that was durable was taken."""
        reading = self._reading(segment, after)
        end, whole = after, False
        try:
            for batch in reading.batches(segment.durable):
                end = batch.end
                if not batch.last or batch.end > batch.start or batch.damage:
                    yield batch
            whole = True
            if segment.finished:
                self._whole.append((segment, Position(segment.path.name, end)))
        finally:
            if not whole or segment.finished:
                self.close()
        if not segment.finished and self._open is not None:
            self._open.end = end
        self._is_whole(segment, end)

    def _reading(self, segment: SegmentState, after: int) -> SegmentReading:
        """The open reading when it stands there, in the same file; else a new one."""
        inode = segment.path.stat().st_ino
        known = self._open
        if known is not None and (known.segment, known.inode, known.end) == (segment.path.name, inode, after):
            return known.reading
        self.close()
        self._open = _Open(segment.path.name, inode, after, self._decoder.open(segment.path, after))
        return self._open.reading

    def _is_whole(self, segment: SegmentState, end: int) -> None:
        """An index names the end of a section: when the sections end before it, their bytes have not arrived."""
        name, durable = segment.path.name, segment.durable
        if durable is None or end >= durable:
            if self._missing is not None and self._missing.segment == name:
                self._missing = None
            return
        now = time.monotonic()
        if self._missing is None or (self._missing.segment, self._missing.durable) != (name, durable):
            self._missing = _Missing(name, durable, now)
        elif not self._missing.told and now - self._missing.since > _PATIENCE_SECONDS:
            self._missing.told = True
            self._tell(f"segment {name}: expected whole sections up to {durable} by its index, found them up to {end}")
