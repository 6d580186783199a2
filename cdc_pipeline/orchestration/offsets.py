"""`cdc/offsets`: every lane, destination against run storage. The only asset with a freshness policy."""

# no postponed annotations: Dagster looks at the class that annotates `context`
import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg

from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.audit import Drift, LaneAudit, audit_lanes
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.reports import markdown

_HEAD = ("lane", "destination", "copy", "drift", "events", "backlog (bytes)", "last commit (s ago)", "problem")


def offsets_asset(projects: Projects, options: Options) -> Any:
    """The asset that audits the offsets; it fails for nothing, its check does."""

    @dg.asset(
        key=names.OFFSETS,
        group_name="cdc",
        owners=options.owners,
        kinds={"dagster"},
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=dt.timedelta(hours=2), warn_window=dt.timedelta(minutes=30)
        ),
        description="Where every lane stands: the row in its destination, the copy in Dagster's run storage, the log.",
    )
    def offsets(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with clean_failures(), projects.open() as project:
            lanes = list(audit_lanes(project, OffsetCopies(context.instance)))
        return dg.MaterializeResult(metadata=audit_metadata(lanes))

    return offsets


def audit_metadata(lanes: Sequence[LaneAudit]) -> dict[str, Any]:
    """The audit as a table and a few numbers."""
    return {
        "lanes": dg.MetadataValue.md(markdown(_HEAD, [_row(lane) for lane in lanes])),
        "lanes_ahead": sum(lane.drift is Drift.AHEAD for lane in lanes),
        "backlog_bytes": sum(lane.backlog or 0 for lane in lanes),
        "events_processed": sum(lane.state.events_processed for lane in lanes if lane.state is not None),
        "problems": sum(lane.problem is not None for lane in lanes),
    }


def _row(audit: LaneAudit) -> tuple[object, ...]:
    state, idle = audit.state, audit.idle_seconds
    return (
        audit.lane,
        state.position if state is not None else "-",
        audit.copy.position if audit.copy is not None else "-",
        audit.drift,
        state.events_processed if state is not None else "-",
        audit.backlog if audit.backlog is not None else "-",
        "-" if idle is None else round(idle),
        audit.problem or "",
    )
