"""The segments of one shard, from its `cdc_raw` and its archive, in the order of their ids."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.capture.manifest import Manifest
from cdc_pipeline.capture.segments import SegmentState, archived_segment, read_segment
from cdc_pipeline.change import Position, SegmentName, parse_segment_name
from cdc_pipeline.errors import ConfigurationError

_SETTLED_SECONDS = 60
"""An index that is not COMPLETED although later segments have data: as old as this, its node was killed; younger, the
word is still to come (the index follows `commitlog_sync_period`)."""


@dataclass(frozen=True)
class ShardLog:
    """A shard's `cdc_raw` and, where there is one, its archive, read as one; `poll_seconds` asks for polling where
    notifications of the file system are not to be relied on."""

    name: str
    directory: Path
    archive: Path | None = None
    poll_seconds: float | None = None

    def segments(self, first: int = -1) -> list[SegmentState]:
        """All segments now from the id `first` on, by id; what lies in both places is read from the archive.

        `ConfigurationError` when `cdc_raw` is missing or unreadable.
        """
        live = self._named(self.directory, required=True)
        kept = self._named(self.archive, required=False) if self.archive is not None else {}  # after: things move there
        found: dict[int, SegmentState] = {}
        # The newest first: Cassandra syncs in the order of ids, so whatever an older segment had when a younger one
        # got its index is seen; the other way round a segment could pass for a spare one and be left out.
        for segment_id in sorted(live.keys() | kept.keys(), reverse=True):
            if segment_id < first:
                break
            try:
                state = self._state(segment_id, live, kept)
            except OSError as error:
                raise ConfigurationError(
                    f"shard {self.name}: expected a readable file, found: {error.strerror}", where=error.filename
                ) from None
            if state is not None:
                found[segment_id] = state
        return _settled([found[segment_id] for segment_id in sorted(found)])

    def segment(self, name: str) -> SegmentState | None:
        """A segment by its file name."""
        return next((state for state in self.segments() if state.path.name == name), None)

    def waiting(self, position: Position) -> list[SegmentState]:
        """The segments that may hold changes beyond a position, by id, up to the first that must be waited for."""
        at = parse_segment_name(position.segment)
        return in_order(self.segments(at.id if at is not None else -1))

    def backlog(self, position: Position) -> int:
        """Bytes of segments that are durable and beyond a position."""
        total = 0
        for state in self.waiting(position):
            total += max(0, state.end - (position.offset if state.path.name == position.segment else 0))
        return total

    def head(self) -> Position | None:
        """The end of what is durable; in a finished segment the file's size stands for it."""
        last = next((state for state in reversed(self.segments()) if state.has_changes), None)
        if last is None:
            return None
        return Position(last.path.name, last.end)

    def oldest(self) -> int | None:
        """The lowest id of a file in `cdc_raw`."""
        return min(self._named(self.directory, required=True), default=None)

    def _state(self, segment_id: int, live: _Named, kept: _Named) -> SegmentState | None:
        if segment_id in kept:
            name, path = kept[segment_id]
            manifest = Manifest.beside(path)
            if state := archived_segment(path, name, manifest.last_position if manifest is not None else None):
                return state
        if segment_id in live:
            name, path = live[segment_id]
            if state := read_segment(path, name):
                return state
            if self.archive is not None:  # it moved between the two listings and this look
                return archived_segment(self.archive / path.name, name, None)
        return None

    def _named(self, directory: Path, *, required: bool) -> _Named:
        return {name.id: (name, path) for name, path in self._files(directory, required=required)}

    def _files(self, directory: Path, *, required: bool) -> Iterator[tuple[SegmentName, Path]]:
        try:
            for path in list(directory.iterdir()):
                name = parse_segment_name(path.name)
                if name is not None:
                    yield name, path
        except OSError as error:
            if required or not isinstance(error, FileNotFoundError):
                raise ConfigurationError(
                    f"shard {self.name}: expected a readable directory, found: {error.strerror}", where=str(directory)
                ) from None


def in_order(states: Iterable[SegmentState]) -> list[SegmentState]:
    """Those with changes, up to the first that is still being written: behind it nothing is read."""
    chosen = []
    for state in states:
        if state.has_changes:
            chosen.append(state)
            if not state.finished:
                break
    return chosen


_Named = dict[int, tuple[SegmentName, Path]]


def _settled(states: list[SegmentState]) -> list[SegmentState]:
    """Segments that were left unfinished by a killed node count as finished, as far as their sections are valid."""
    last_with_data = max((at for at, state in enumerate(states) if state.has_changes), default=-1)
    now = time.time()
    for at, state in enumerate(states[:last_with_data]):
        if state.has_changes and not state.finished:
            try:
                age = now - state.index.stat().st_mtime
            except OSError:
                continue
            if age > _SETTLED_SECONDS or state.problem is not None:
                states[at] = dataclasses.replace(state, durable=None, finished=True, settled=True)
    return states
