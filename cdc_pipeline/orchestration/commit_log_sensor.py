"""Asks for a drain run of each lane that has something to load. Turning it on moves data."""

# no postponed annotations: Dagster looks at the class that annotates `context`
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.change import START, Position
from cdc_pipeline.errors import CdcError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.catalog import Catalog
from cdc_pipeline.orchestration.lane_drain import log_mark
from cdc_pipeline.orchestration.lane_runs import may_start
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.projects import Projects


@dataclass(frozen=True)
class News:
    """A lane with durable bytes beyond the copy of its offset."""

    lane: Lane
    position: Position
    backlog: int


def commit_log_sensor(catalog: Catalog, options: Options, projects: Projects, jobs: Sequence[Any]) -> Any:
    """A tick looks for up to `poll_seconds`, so that a change is seen at once; it returns on the first.

    It keeps no cursor and gives no run key: a lane's copy and drained mark say what is left, also after a failed run.
    """

    @dg.sensor(
        name="commit_log",
        jobs=jobs,
        minimum_interval_seconds=1,
        description="Requests a drain run per lane with a backlog. Turning it on moves data.",
    )
    def commit_log(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        copies = OffsetCopies(context.instance)
        with projects.open() as project:
            sources = {shard: project.source(shard) for shard in project.shards()}
        deadline = time.monotonic() + options.poll_seconds
        with watching(*sources.values()) as changes:
            while True:
                news, problems = look(catalog.lanes, sources, copies)
                left = deadline - time.monotonic()
                if news or problems or left <= 0:
                    break
                changes.wait(timeout=left)
        ready = [new for new in news if may_start(context.instance, new.lane, options.retry_seconds)]
        if problems and not ready:
            raise CdcError("; ".join(problems))
        return _asked(ready, news, sources)

    return commit_log


def look(lanes: Iterable[Lane], sources: Mapping[str, ShardLog], copies: OffsetCopies) -> tuple[list[News], list[str]]:
    """The lanes with a backlog, and what kept a shard from being read; one shard hides no other."""
    news: list[News] = []
    problems: dict[str, str] = {}
    for lane, (copy, drained) in copies.read_all(lanes).items():
        position = copy.position if copy is not None else START
        source = sources[lane.shard]
        try:
            backlog = source.backlog(position)
            if backlog and log_mark(source, position) != drained:
                news.append(News(lane, position, backlog))
        except CdcError as error:
            problems[lane.shard] = str(error)
    return news, list(problems.values())


def _asked(ready: Sequence[News], news: Sequence[News], sources: Mapping[str, ShardLog]) -> dg.SensorResult:
    if not ready:
        waiting = ", ".join(str(new.lane) for new in news)
        why = f"a run has, or just failed, the lanes with a backlog: {waiting}" if news else "no lane has a backlog"
        return dg.SensorResult(skip_reason=why)
    requests = [
        dg.RunRequest(
            job_name=names.drain_job_name(new.lane.destination),
            partition_key=new.lane.shard,
            tags=names.lane_tags(new.lane),
        )
        for new in ready
    ]
    return dg.SensorResult(run_requests=requests, asset_events=_observed(ready, sources))


def _observed(ready: Sequence[News], sources: Mapping[str, ShardLog]) -> list[dg.AssetObservation]:
    """The log of each shard that has news: head and backlog, once per request and not per tick."""
    return [
        dg.AssetObservation(
            names.COMMITLOG,
            partition=shard,
            metadata={
                "head": str(sources[shard].head() or "nothing yet"),
                **{f"backlog_bytes/{new.lane.destination}": new.backlog for new in ready if new.lane.shard == shard},
            },
        )
        for shard in sorted({new.lane.shard for new in ready})
    ]
