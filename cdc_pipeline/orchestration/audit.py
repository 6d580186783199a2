"""Every lane's two offsets side by side, with what the log still holds for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cdc_pipeline.change import START
from cdc_pipeline.errors import CdcError
from cdc_pipeline.load import Sink
from cdc_pipeline.offsets import Lane, LaneState, OffsetCopy
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.project import Project


class Drift(StrEnum):
    """The copy against the destination; only AHEAD is wrong: the destination was restored or wiped."""

    EQUAL = "equal"
    BEHIND = "behind"
    AHEAD = "ahead"
    NOT_STARTED = "not started"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LaneAudit:
    """A lane as it stands; `problem` when the destination or the log could not be asked."""

    lane: Lane
    state: LaneState | None
    copy: OffsetCopy | None
    drift: Drift
    backlog: int | None = None
    problem: str | None = None

    @property
    def idle_seconds(self) -> float | None:
        """Since the last commit."""
        if self.state is None or self.state.last_committed_at is None:
            return None
        return (dt.datetime.now(dt.UTC) - self.state.last_committed_at).total_seconds()


def audit_lanes(project: Project, copies: OffsetCopies) -> Iterator[LaneAudit]:
    """Asks each destination for its lanes; one that is down hides no other."""
    found = copies.read_all(project.lanes())
    for destination in project.destinations():
        sink, problem = _reached(project, destination)
        for lane in project.lanes(destination):
            copy = found[lane][0]
            if sink is None or problem is not None:
                yield LaneAudit(lane, None, copy, Drift.UNKNOWN, problem=problem)
            else:
                yield _audited(project, lane, sink, copy)


def _reached(project: Project, destination: str) -> tuple[Sink | None, str | None]:
    try:
        return project.sink(destination), None
    except CdcError as error:
        return None, str(error)


def _audited(project: Project, lane: Lane, sink: Sink, copy: OffsetCopy | None) -> LaneAudit:
    try:
        state = sink.state(lane)
    except CdcError as error:
        return LaneAudit(lane, None, copy, Drift.UNKNOWN, problem=str(error))
    drift = drift_of(state, copy)
    try:
        backlog = project.source(lane.shard).backlog(state.position if state is not None else START)
    except CdcError as error:
        return LaneAudit(lane, state, copy, drift, problem=str(error))
    return LaneAudit(lane, state, copy, drift, backlog)


def drift_of(state: LaneState | None, copy: OffsetCopy | None) -> Drift:
    """The copy against the destination's row; a row that is gone stands at the start."""
    stands = state.position if state is not None else START
    if copy is None:
        return Drift.NOT_STARTED if stands == START else Drift.BEHIND
    if copy.position == stands:
        return Drift.EQUAL
    return Drift.AHEAD if copy.position > stands else Drift.BEHIND
