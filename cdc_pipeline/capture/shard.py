"""The segments of one shard, from its `cdc_raw` and its archive, in the order of their ids."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.capture.segments import SegmentState, read_segment
from cdc_pipeline.change import Position, parse_segment_name
from cdc_pipeline.errors import ConfigurationError

_SETTLED_SECONDS = 60
"""An index that is not COMPLETED although later segments have data: as old as this, its node was killed; younger, the
word is still to come (the index follows `commitlog_sync_period`)."""


@dataclass(frozen=True)
class ShardLog:
    """A shard's directories; a segment that lies in several is read from the first."""

    name: str
    directories: Sequence[Path]

    def segments(self) -> list[SegmentState]:
        """All segments now, by id. `ConfigurationError` when the first directory is missing or unreadable."""
        found: dict[int, SegmentState] = {}
        for number, directory in enumerate(self.directories):
            for path in self._files(directory, required=number == 0):
                name = parse_segment_name(path.name)
                if name is not None and name.id not in found and (state := read_segment(path, name)) is not None:
                    found[name.id] = state
        return _settled([found[segment_id] for segment_id in sorted(found)])

    def segment(self, name: str) -> SegmentState | None:
        """A segment by its file name."""
        return next((state for state in self.segments() if state.path.name == name), None)

    def waiting(self, position: Position) -> list[SegmentState]:
        """The segments that may hold changes beyond a position, by id, up to the first that must be waited for."""
        at = parse_segment_name(position.segment)
        first = at.id if at is not None else -1
        chosen = []
        for state in self.segments():
            if state.name.id >= first and state.has_changes:
                chosen.append(state)
                if not state.finished:
                    break
        return chosen

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

    def _files(self, directory: Path, *, required: bool) -> list[Path]:
        try:
            return list(directory.iterdir())
        except OSError as error:
            if not required and isinstance(error, FileNotFoundError):
                return []
            raise ConfigurationError(
                f"shard {self.name}: expected a readable directory, found: {error.strerror}", where=str(directory)
            ) from None


def _settled(states: list[SegmentState]) -> list[SegmentState]:
    """Segments that were left unfinished by a killed node count as finished, as far as their sections are valid."""
    last_with_data = max((at for at, state in enumerate(states) if state.has_changes), default=-1)
    now = time.time()
    for at, state in enumerate(states[:last_with_data]):
        if state.has_changes and not state.finished:
            index = state.path.with_name(state.path.name.removesuffix(".log") + "_cdc.idx")
            try:
                age = now - index.stat().st_mtime
            except OSError:
                continue
            if age > _SETTLED_SECONDS or state.problem is not None:
                states[at] = dataclasses.replace(state, durable=None, finished=True)
    return states
