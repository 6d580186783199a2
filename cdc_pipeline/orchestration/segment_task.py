"""Loading segments again, as plain functions on the lane's own stages: what is chosen, read, masked and loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.results import Prepared


@dataclass(frozen=True)
class SegmentTask:
    """One segment to be loaded again into one destination; `tables` None: all that are loaded."""

    lane: Lane
    segment: str
    tables: tuple[str, ...] | None = None


@dataclass
class Parsed:
    """What a segment holds: counts and places, no value."""

    task: SegmentTask
    micro_batches: int = 0
    mutations: int = 0
    damaged: int = 0
    changes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Masked:
    """A segment's micro-batches, masked and typed for the destination."""

    task: SegmentTask
    batches: list[Prepared]


class ReloadLanes:
    """The runners of one reload run, each opened once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._runners: dict[Lane, LaneRunner] = {}

    def runner(self, lane: Lane) -> LaneRunner:
        """The lane's runner with its tables prepared; the lane itself is not taken."""
        if lane not in self._runners:
            runner = self._project.lane(lane)
            runner.prepare_tables()
            self._runners[lane] = runner
        return self._runners[lane]

    def tasks(self, lane: Lane, segments: Sequence[str], tables: Sequence[str]) -> Iterator[SegmentTask]:
        """The segments asked for, in that order, or all by id; `ConfigurationError` for one that is not there."""
        self._project.destinations(lane.destination)
        known = self._project.selected
        for table in tables:
            if table not in known:
                raise ConfigurationError(f"expected a table of {', '.join(sorted(known))}, found {table}", key="tables")
        states = self._project.source(lane.shard).segments()
        there = {state.path.name for state in states}
        for name in segments or [state.path.name for state in states if state.has_changes]:
            if name not in there:
                raise ConfigurationError(f"expected a segment of shard {lane.shard}, found {name}", key="segments")
            yield SegmentTask(lane, name, tuple(tables) or None)

    def parse(self, task: SegmentTask) -> Parsed:
        """Decodes a segment to see that it can be read, and counts."""
        parsed = Parsed(task)
        for decoded in self._reading(task):
            parsed.micro_batches += 1
            parsed.mutations += decoded.mutations
            parsed.damaged += len(decoded.damage)
            for batch in decoded.tables:
                parsed.changes[batch.table.full_name] += batch.changes
        return parsed

    def mask(self, parsed: Parsed) -> Masked:
        """Decodes once more, a micro-batch at a time, so that nothing unmasked is handed from one op to the next."""
        runner = self.runner(parsed.task.lane)
        return Masked(parsed.task, [runner.prepared(decoded) for decoded in self._reading(parsed.task)])

    def load(self, masked: Masked) -> None:
        """Merges; offsets stay as they are."""
        runner = self.runner(masked.task.lane)
        for number, prepared in enumerate(masked.batches):
            runner.reload(prepared, partial(self._again, masked.task, number))

    def _reading(self, task: SegmentTask) -> Iterator[DecodedBatch]:
        runner = self.runner(task.lane)
        return runner.reading(_found(runner.source, task.segment), task.tables)

    def _again(self, task: SegmentTask, number: int) -> DecodedBatch:
        """A micro-batch by its number."""
        decoded = next(islice(self._reading(task), number, None), None)
        if decoded is None:
            raise CdcError(f"segment {task.segment}: it changed while it was loaded; run the reload again")
        return decoded


def _found(source: ShardLog, name: str) -> SegmentState:
    state = source.segment(name)
    if state is None:
        raise CdcError(f"segment {name}: vanished from shard {source.name} since it was planned")
    return state
