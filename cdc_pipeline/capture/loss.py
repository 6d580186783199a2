"""What vanished from `cdc_raw` before it was read: what is certain, what is possible, and what nobody can know.

A segment without CDC data leaves without a trace, its id stays unused, and ids jump when a node restarts: a gap alone
is no loss. Known is what was seen: a segment with an index that is gone, and not by our archive, before a lane passed
it.
Where Cassandra deletes the oldest segments when its space is full (`cdc_block_writes: false`), a gap below the oldest
segment that is left is possible loss; a gap above it is not, because the older one would have gone first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cdc_pipeline.capture.archive import ShardArchive
from cdc_pipeline.capture.segments import SegmentState
from cdc_pipeline.capture.shard import ShardLog
from cdc_pipeline.capture.space import Limits, Pressure, look
from cdc_pipeline.change import START, Position, parse_segment_name

_SAME_RUN = 10_000
"""Ids rise by 1 inside a process run and begin at the clock's milliseconds: further apart, a restart lies between."""


@dataclass(frozen=True)
class Gap:
    """Ids between two known segments of one process run that are not known."""

    after: int
    before: int

    @property
    def message(self) -> str:
        """One sentence for people."""
        count = self.before - self.after - 1
        ids = f"{self.after + 1}" + (f" to {self.before - 1}" if count > 1 else "")
        return (
            f"possible loss: segment ids {ids} were never seen below the oldest segment left; they held no CDC data, "
            "or Cassandra deleted them unread when its space was full (cdc_block_writes: false)"
        )


def gap(present: Sequence[SegmentState], known: Iterable[int]) -> Gap | None:
    """The gap below the oldest segment with changes in `cdc_raw` (`present`: what lies there, by id).

    `known` are ids that a lane has read or the archive has or had. None where there is none, or where a restart lies
    between, about which nothing can be known.
    """
    oldest = next((state.name.id for state in present if state.has_changes), None)
    if oldest is None:
        return None
    ids = {one for one in known if one < oldest} | {state.name.id for state in present if state.name.id < oldest}
    ids.add(oldest)
    below = oldest
    while below - 1 in ids:
        below -= 1
    lower = max((one for one in ids if one < below), default=None)
    if lower is None or below - lower > _SAME_RUN:
        return None
    return Gap(lower, below)


def possible_loss(source: ShardLog, read: Iterable[str], limits: Limits) -> list[str]:
    """What may have been deleted unread, as far as the files, the archive and what a lane has read can tell.

    Only where `cdc_block_writes` is false, or not known and the space is full: else Cassandra deletes nothing.
    """
    if limits.block_writes or (limits.block_writes is None and not _is_full(source, limits)):
        return []
    known = {name.id for one in read if (name := parse_segment_name(one)) is not None}
    if source.archive is not None:
        known |= {one.name.id for one in ShardArchive(source.archive).manifests()}
    found = gap(dataclasses.replace(source, archive=None).segments(), known)
    return [found.message] if found is not None else []


def _is_full(source: ShardLog, limits: Limits) -> bool:
    return look(source.directory, limits).pressure is Pressure.FULL


def removed_unread(source: ShardLog, position: Position) -> list[str]:
    """The segments beyond a position that were in the archive and left it, by id.

    They leave when every lane has passed them: one that has not went back since, or is new.
    """
    if source.archive is None:
        return []
    gone = [one for one in ShardArchive(source.archive).manifests() if one.removed_at is not None]
    beyond = [one.segment for one in gone if Position(one.segment, one.last_position) > position]
    return [name for name in beyond if source.segment(name) is None]


def left_the_archive(gone: Sequence[str]) -> str:
    """Segments that are gone in words; there is at least one."""
    return (
        f"{len(gone)} segments from {gone[0]} on left the archive" if len(gone) > 1 else f"{gone[0]} left the archive"
    )


def begins_without(source: ShardLog) -> str | None:
    """What a lane that begins now would leave out, in words."""
    gone = removed_unread(source, START)
    return f"begins without what was written before: {left_the_archive(gone)}" if gone else None


class Seen:
    """The segments that one reader has seen with changes beyond its position, and what became of them."""

    def __init__(self) -> None:
        self._seen: dict[int, SegmentState] = {}
        self._done: set[int] = set()

    def look(self, states: Sequence[SegmentState], position: Position) -> list[str]:
        """Messages about segments that were here at an earlier look and are gone unread; each is told once.

        `states` are all segments now, from the position's own on; those in the archive included.
        """
        at = parse_segment_name(position.segment)
        first = at.id if at is not None else -1
        here = {state.name.id: state for state in states}
        messages = []
        for segment_id, state in self._seen.items():
            gone = segment_id not in here or not here[segment_id].has_changes
            if gone and segment_id >= first and (told := _told(state, position)):
                messages.append(told)
        self._done = {i for i in self._done if i >= first}
        self._seen = {i: state for i, state in here.items() if state.has_changes and i >= first and i not in self._done}
        return messages

    def done(self, state: SegmentState) -> None:
        """A finished segment was read to its end: nobody misses it any more."""
        self._done.add(state.name.id)
        self._seen.pop(state.name.id, None)


def _told(state: SegmentState, position: Position) -> str | None:
    name = state.path.name
    if position.segment != name:
        return f"segment {name}: lost: it had changes, and vanished before any of it was read"
    if position.offset < state.end and not state.finished:
        return f"segment {name}: lost: vanished at position {position.offset}, although {state.end} was durable"
    if position.offset < state.end:
        return (
            f"segment {name}: possible loss: vanished when it was read up to position {position.offset}; "
            f"its index said {state.end}, which after a replay counts unused bytes too"
        )
    if not state.finished:
        return (
            f"segment {name}: possible loss: vanished unfinished when it was read up to position {position.offset}; "
            "whether more followed cannot be known"
        )
    return None
