"""One run of a lane: take it, reconcile its two offsets, load until nothing comes, keep the copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.change import Position
from cdc_pipeline.errors import CdcError, LaneLost
from cdc_pipeline.offsets import LaneState, reconcile
from cdc_pipeline.orchestration.offset_copy import OffsetCopies, SecondlyCopy
from cdc_pipeline.pipeline import LaneRunner

Watch = Callable[[LaneRunner], None]
"""Called once a lane is open, and after each of its micro-batches."""


@dataclass(frozen=True)
class DrainConfig:
    """The config of a drain run; `accept_destination` is an operator's word that the destination is right."""

    idle_seconds: float = 0.0
    budget_seconds: float = 300.0
    accept_destination: bool = False


@dataclass
class DrainEnd:
    """How a run ended: where the lane stood and stands, whether another writer took over, and what stopped it."""

    start: Position
    end: Position
    handed_over: bool = False
    error: CdcError | None = None
    seconds: float = field(default=0.0)


def drain_lane(
    runner: LaneRunner, copies: OffsetCopies, config: DrainConfig, run_id: str, watch: Watch = lambda _: None
) -> DrainEnd:
    """Drains; errors after the lane is open come back in `error`, because what is committed wants to be reported.

    `OffsetConflict` when the copy is ahead of the destination and nobody accepted that.
    """
    began = time.monotonic()
    copies.probe(runner.lane, run_id)
    start = _open(runner, copies, config, run_id)
    _report_commits(runner, copies, watch)
    end = DrainEnd(start.position, start.position)
    try:
        mark = _until_idle(runner, config)
        end.handed_over = not _still_ours(runner)
        if not end.handed_over:
            copies.write(runner.held)
            if mark is not None:
                copies.write_drained(runner.lane, mark)
    except LaneLost:
        end.handed_over = True
    except CdcError as error:
        end.error = error
    end.end = runner.held.position
    end.seconds = time.monotonic() - began
    return end


def log_mark(source: ShardLog, position: Position) -> str:
    """What the log looks like beyond a position: when it is the same again, there is nothing new to read."""
    states = source.waiting(position)
    return "|".join(
        [str(position), *(f"{s.name.id}:{s.size if s.finished else s.durable}:{s.finished}" for s in states)]
    )


def _open(runner: LaneRunner, copies: OffsetCopies, config: DrainConfig, run_id: str) -> LaneState:
    """Takes the lane first: from then on only this run moves the offset, so the copy cannot pass it meanwhile."""
    state = runner.open(run_id)
    if config.accept_destination:
        copies.drop(runner.lane)
    reconcile(state, copies.read(runner.lane))
    copies.write(state)
    return state


def _report_commits(runner: LaneRunner, copies: OffsetCopies, watch: Watch) -> None:
    keep = SecondlyCopy(copies)

    def committed(runner: LaneRunner) -> None:
        keep(runner.held)
        watch(runner)

    runner.on_commit = committed
    watch(runner)


def _until_idle(runner: LaneRunner, config: DrainConfig) -> str | None:
    """Loads until nothing came for a while: the mark of the log at that point; None when the budget ended first."""
    ends = time.monotonic() + config.budget_seconds
    quiet_since = time.monotonic()
    drained = None
    with watching(runner.source) as changes:
        while time.monotonic() < ends:
            mark = log_mark(runner.source, runner.held.position)
            if mark != drained:
                if runner.drain(should_stop=lambda: time.monotonic() >= ends):
                    quiet_since = time.monotonic()
                    continue
                if time.monotonic() >= ends:  # it may not have looked
                    return None
                drained = mark
            idle_left = quiet_since + config.idle_seconds - time.monotonic()
            if idle_left <= 0:
                return drained
            changes.wait(timeout=min(idle_left, ends - time.monotonic()))
    return None


def _still_ours(runner: LaneRunner) -> bool:
    """An idle run meets no fence; without a look it would write its old copy over its successor's."""
    state = runner.sink.state(runner.lane)
    return state is not None and state.epoch == runner.held.epoch
