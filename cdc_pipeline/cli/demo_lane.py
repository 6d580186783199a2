"""A lane of the demo in a process of its own, as each run of Dagster has one: none waits for another."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from cdc_pipeline.change import START
from cdc_pipeline.errors import CdcError
from cdc_pipeline.observability.logging import configure_logging
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.results import LaneResult

Progress = Callable[[Lane, int, int], None]
"""Gets a lane, the bytes of the log that it has loaded, and how many there are."""


@dataclass(frozen=True)
class Ended:
    """What a lane did, and in how many seconds; `changes` by table, `parked` by reason."""

    mutations: int
    changes: Counter[str]
    applied: int
    parked: Counter[str]
    micro_batches: int
    seconds: float

    @classmethod
    def of(cls, result: LaneResult, seconds: float) -> Ended:
        """Its counts."""
        return cls(result.mutations, result.changes, result.applied, result.parked, result.micro_batches, seconds)


def load(config: Path, lanes: Sequence[Lane], progress: Progress) -> dict[Lane, Ended]:
    """All at once; `CdcError` with the first lane's sentence that failed, when all have ended."""
    spawn = multiprocessing.get_context("spawn")
    ended: dict[Lane, Ended] = {}
    failed: list[CdcError] = []
    ends: dict[Connection, Lane] = {}
    processes = []
    for lane in lanes:
        ours, theirs = spawn.Pipe(duplex=False)
        processes.append(spawn.Process(target=_run, args=(config, lane, theirs), name=str(lane)))
        processes[-1].start()
        theirs.close()
        ends[ours] = lane
    while ends:
        for ready in multiprocessing.connection.wait(list(ends)):
            assert isinstance(ready, Connection)
            lane = ends[ready]
            try:
                said = ready.recv()
            except EOFError:
                del ends[ready]
                continue
            if isinstance(said, tuple):
                progress(lane, *said)
            elif isinstance(said, Ended):
                ended[lane] = said
            else:
                failed.append(CdcError(said))
    for process in processes:
        process.join()
    if failed:
        raise failed[0]
    if gone := [str(lane) for lane in lanes if lane not in ended]:
        raise CdcError(f"lane {gone[0]}: its process ended without a word")
    return ended


def _run(config: Path, lane: Lane, to: Connection) -> None:
    """One lane, through its job; sends (done, total), and in the end what it did, or a sentence."""
    import dagster as dg

    from cdc_pipeline.orchestration import materialize_lane
    from cdc_pipeline.project import Project

    configure_logging(json=True, level="warning")
    with to:
        try:
            with Project.load(config) as project, dg.DagsterInstance.get() as instance:
                source = project.source(lane.shard)
                total = source.backlog(START)

                def watch(runner: LaneRunner) -> None:
                    to.send((total - source.backlog(runner.held.position), total))

                began = time.monotonic()
                result = materialize_lane(project, lane, instance, watch=watch, accept_destination=True)
                to.send(Ended.of(result, time.monotonic() - began))
        except CdcError as error:
            to.send(str(error))
