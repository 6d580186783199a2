"""The schema of a place of a shard's log. The log comes first: its history, else the log at hand, read for DDL alone.

The snapshot seeds it. One that is newer than the place works, too: columns that were dropped since are in it, the log
writes each row of the schema whole, and what it removed or made again meanwhile comes in the log's order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import DecodedBatch, Decoder, KeyProvider, SchemaFollower
from cdc_pipeline.errors import ConfigurationError, SegmentError
from cdc_pipeline.history.store import Entry, SchemaHistory
from cdc_pipeline.schema import Schema

log = structlog.get_logger()

_BEHIND_ALL = 2**31
"""A position in a segment beyond every other: segments are smaller than 2 GiB."""


class ShardSchema:
    """`seed` holds where the history says nothing; without a `history` everything is found in the log at hand. With
    `keep` False the history is only read.

    `problems` are sentences about what could not be read or kept.
    """

    def __init__(
        self,
        seed: Schema,
        source: ShardLog,
        history: SchemaHistory | None = None,
        keys: KeyProvider | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self.history = history
        self.problems: list[str] = []
        self._seed = seed
        self._source = source
        self._keys = keys
        self._keep = keep
        self._follows = SchemaFollower(seed).follows

    @property
    def follows(self) -> bool:
        """Whether DDL in the log can be followed; not when the snapshot lacks the tables of `system_schema`."""
        return self._follows

    def at(self, position: Position) -> Schema:
        """The schema that holds behind a position. Looks through the segments before it that no lane has begun yet, and
        through the beginning of its own."""
        if not self._follows:
            return self._seed
        entry = self.history.latest(position) if self.history is not None else None
        schema, known = (entry.schema, entry.position) if entry is not None else (self._seed, START)
        begun = self.history.begun() if self.history is not None else None
        if position == START:
            return schema
        last = Position(position.segment, 0)
        if begun is not None:
            known = max(known, min(Position(begun, 0), last))  # within a segment other lanes may have kept nothing yet
        for segment in self._source.segments() if known < position else ():
            start = Position(segment.path.name, 0)
            if segment.has_changes and Position(known.segment, 0) <= start < position:
                after = known.offset if known.segment == start.segment else 0
                schema = self._scanned(schema, segment, after, position)
        self.begin(position.segment)
        return schema

    def end(self) -> Schema:
        """The schema that holds behind all of the log at hand."""
        segments = [segment.path.name for segment in self._source.segments()]
        last = max(segments, key=lambda name: Position(name, 0), default=None)
        return self.at(Position(last, _BEHIND_ALL) if last is not None else START)

    def begin(self, segment: str) -> None:
        """Notes that a lane, which read everything before, begins a segment."""
        if self._follows and self._keep and self.history is not None:
            self._kept(partial(self.history.begin, segment))

    def record(self, batch: DecodedBatch) -> None:
        """Keeps what a batch changed, before a lane passes it."""
        if self._follows and self._keep and self.history is not None:
            self._kept(partial(self.history.record, Entry(batch.position, batch.schema_behind, batch.events)))

    def _kept(self, write: Callable[[], None]) -> None:
        """A history that cannot be written is made from the log again and again: worth a word, not a stop."""
        try:
            write()
        except ConfigurationError as error:
            self._problem(str(error))

    def _problem(self, message: str) -> None:
        if message not in self.problems:
            self.problems.append(message)
            log.warning("schema history", message=message)

    def _scanned(self, schema: Schema, segment: SegmentState, after: int, until: Position) -> Schema:
        """The schema behind `until`, or behind the whole segment; every change in it is kept."""
        decoder = Decoder(schema, lambda _: False, keys=self._keys, follow=True)
        try:
            for batch in decoder.read(segment.path, after, segment.durable):
                if batch.position > until:
                    return batch.schema
                if batch.events:
                    self.record(batch)
        except FileNotFoundError:
            self._problem(f"segment {segment.path.name}: vanished before its changes of the schema were read")
        except (OSError, SegmentError) as error:
            self._problem(f"segment {segment.path.name}: its changes of the schema cannot be read: {error}")
        return decoder.schema
