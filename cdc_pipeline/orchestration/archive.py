"""The archive in Dagster: a sensor that moves finished segments, and an asset that prunes and reports."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from typing import Any

import dagster as dg

from cdc_pipeline.archivist import Pruned, Swept
from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.reports import markdown
from cdc_pipeline.project import Project

_TICK_SECONDS = 40.0
"""Dagster gives up on a tick after 60 s; a sweep may be cut off between two segments."""


def archive_sensor(projects: Projects) -> Any:
    """Moves what is finished in each tick; what is left when its time is up is the next one's."""

    @dg.sensor(
        name="archive",
        minimum_interval_seconds=10,
        description="Moves finished segments from cdc_raw to the archive. Turning it on moves files.",
    )
    def archive(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with projects.open() as project:
            swept = {shard: _swept(project, shard) for shard in project.shards()}
        problems = [problem for one in swept.values() for problem in one.problems]
        moved = {shard: one for shard, one in swept.items() if one.freed}
        if problems and not moved:
            raise CdcError("; ".join(problems))
        if not moved:
            return dg.SensorResult(skip_reason="nothing is finished that is not in the archive")
        count = sum(len(one.taken) for one in moved.values())
        events = [_observed(shard, one) for shard, one in moved.items()]
        return dg.SensorResult(skip_reason=f"{count} segments moved to the archive", asset_events=events)

    return archive


def archive_asset(projects: Projects, options: Options) -> Any:
    """`cdc/archive`: each run removes what every lane has passed and whose retention is over."""

    @dg.asset(
        key=names.ARCHIVE,
        deps=[names.COMMITLOG],
        group_name="cdc",
        owners=options.owners,
        kinds={"file"},
        description="Segments that left cdc_raw, until every lane has passed them and their retention is over.",
    )
    def archive() -> dg.MaterializeResult[Any]:
        with clean_failures(), projects.open() as project:
            reports = [(shard, *_report(project, shard)) for shard in project.shards()]
        rows = [
            (shard, there, size, len(pruned.removed), ", ".join(sorted(pruned.held)) or "nobody", problem or "")
            for shard, there, size, pruned, problem in reports
        ]
        head = ("shard", "segments", "bytes", "removed now", "held back by", "problem")
        return dg.MaterializeResult(
            metadata={
                "shards": dg.MetadataValue.md(markdown(head, rows)),
                "segments": sum(row[1] for row in rows),
                "bytes": sum(row[2] for row in rows),
                "removed": sum(row[3] for row in rows),
                "damaged": sum(len(pruned.damaged) for _, _, _, pruned, _ in reports),
                "problems": sum(problem is not None for *_, problem in reports),
            }
        )

    return archive


def _swept(project: Project, shard: str) -> Swept:
    """One shard's sweep; what goes wrong with it hides no other."""
    try:
        return project.archivist(shard).sweep(_TICK_SECONDS / len(project.shards()))
    except CdcError as error:
        return Swept(problems=[str(error)])


def _report(project: Project, shard: str) -> tuple[int, int, Pruned, str | None]:
    """(segments, bytes, what was removed, problem)."""
    problem, pruned = None, Pruned()
    try:
        pruned = project.prune(shard)
    except CdcError as error:
        problem = str(error)
    there = [one for one in project.archivist(shard).archive.manifests() if one.removed_at is None]
    return len(there), sum(one.digest.size for one in there), pruned, problem


def _observed(shard: str, swept: Swept) -> dg.AssetObservation:
    return dg.AssetObservation(
        names.ARCHIVE,
        metadata={
            "shard": shard,
            "segments": ", ".join(f"{taken.segment} ({taken.outcome})" for taken in swept.taken),
            "freed_bytes": swept.freed,
            "problems": "; ".join(swept.problems) or "none",
        },
    )
