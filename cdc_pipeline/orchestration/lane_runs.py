"""Which runs have a lane, and whether another may be asked for."""

from __future__ import annotations

import time

import dagster as dg

from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration.names import lane_tags

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_WENT_WRONG = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def may_start(instance: dg.DagsterInstance, lane: Lane, retry_seconds: float) -> bool:
    """Whether no run of the lane is queued or under way, and the last one did not fail just now."""
    tags = lane_tags(lane)
    if instance.get_run_records(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY), limit=1):
        return False
    last = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
    if not last or last[0].dagster_run.status not in _WENT_WRONG:
        return True
    ended = last[0].end_time or last[0].update_timestamp.timestamp()
    return time.time() - ended >= retry_seconds
