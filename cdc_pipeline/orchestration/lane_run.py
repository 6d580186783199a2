"""One lane through Dagster's own definitions, inside this process: what the demo and the tests call."""

from __future__ import annotations

import dagster as dg

from cdc_pipeline.errors import CdcError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.definitions import build_definitions
from cdc_pipeline.orchestration.lane_drain import Watch
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.results import LaneResult


def materialize_lane(
    project: Project,
    lane: Lane,
    instance: dg.DagsterInstance,
    *,
    watch: Watch = lambda _: None,
    idle_seconds: float = 0.0,
    accept_destination: bool = False,
    log_level: str = "ERROR",
) -> LaneResult:
    """Runs the lane's drain job once; returns what it did. `CdcError` with the run's sentence when it failed.

    `watch` gets the runner when the lane is open and after each micro-batch (`runner.result` has the counts so far).
    """
    seen: list[LaneRunner] = []

    def watching(runner: LaneRunner) -> None:
        seen[:] = [runner]
        watch(runner)

    job = build_definitions(project, watch=watching).resolve_job_def(names.drain_job_name(lane.destination))
    config = {"idle_seconds": idle_seconds, "accept_destination": accept_destination}
    try:
        job.execute_in_process(
            run_config={
                "ops": {names.drain_name(lane.destination): {"config": config}},
                "loggers": {"console": {"config": {"log_level": log_level}}},
            },
            partition_key=lane.shard,
            tags=names.lane_tags(lane),
            instance=instance,
        )
    except dg.Failure as failure:
        raise CdcError(failure.description or "the run failed") from None
    return seen[0].result
