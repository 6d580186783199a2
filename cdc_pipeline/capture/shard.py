"""The segments of one shard, from its `cdc_raw` and its archive, in the order of their ids."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cdc_pipeline.capture.folder import SegmentFolder
from cdc_pipeline.capture.manifest import Manifest
from cdc_pipeline.capture.segments import SegmentState, archived_segment, read_segment
from cdc_pipeline.change import Position, SegmentName, parse_segment_name
from cdc_pipeline.errors import CdcError, ConfigurationError

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
        live = self._listed(self._raw, required=True)
        kept = self._listed(self._kept, required=False) if self._kept is not None else {}  # after: things move there
        found: dict[int, SegmentState] = {}
        # The newest first: Cassandra syncs in the order of ids, so whatever an older segment had when a younger one
        # got its index is seen; the other way round a segment could pass for a spare one and be left out.
        wanted = {segment_id for segment_id in (*live, *kept) if segment_id >= first}
        for segment_id in sorted(wanted, reverse=True):
            try:
                state = self._state(live.get(segment_id), kept.get(segment_id))
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
        return min(self._listed(self._raw, required=True), default=None)

    @cached_property
    def _raw(self) -> SegmentFolder:
        return SegmentFolder(self.directory)

    @cached_property
    def _kept(self) -> SegmentFolder | None:
        return SegmentFolder(self.archive) if self.archive is not None else None

    def _state(self, live: SegmentName | None, kept: SegmentName | None) -> SegmentState | None:
        if kept is not None and (state := self._archived(kept)):
            return state
        if live is None:
            return None
        # one that is gone now moved between the two listings and this look
        return read_segment(self._raw.path(live), live) or self._archived(live)

    def _archived(self, name: SegmentName) -> SegmentState | None:
        if self._kept is None:
            return None
        path = self._kept.path(name)
        try:
            manifest = Manifest.beside(path)
        except CdcError:  # a reader needs none; who keeps the archive tells
            manifest = None
        return archived_segment(path, name, manifest.last_position if manifest is not None else None)

    def _listed(self, folder: SegmentFolder, *, required: bool) -> dict[int, SegmentName]:
        try:
            return folder.names()
        except OSError as error:
            if not required and isinstance(error, FileNotFoundError):
                return {}
            raise ConfigurationError(
                f"shard {self.name}: expected a readable directory, found: {error.strerror}",
                where=str(folder.directory),
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
