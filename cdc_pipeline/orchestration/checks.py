"""Asset checks: offsets that contradict each other, too many dead letters, text that nobody classified."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from collections.abc import Iterator
from typing import Any

import dagster as dg

from cdc_pipeline.capture import space
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.audit import Drift, audit_lanes
from cdc_pipeline.orchestration.catalog import Catalog
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.orchestration.offsets import audit_metadata
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.reports import dead_letter_report
from cdc_pipeline.transform import TableMasks

_TOLERATED_SHARE = 0.01
"""Dead letters per change processed; above it somebody should look."""


def all_checks(catalog: Catalog, projects: Projects) -> list[Any]:
    """Every check of a catalog."""
    checks = [
        offset_continuity(projects),
        cdc_space(projects),
        *(dead_letter_rate(name, projects) for name in catalog.plans),
    ]
    return [*checks, masking_review(catalog)] if catalog.masks else checks


def offset_continuity(projects: Projects) -> Any:
    """Red when a copy is ahead of its destination, yellow when a destination or a log could not be asked."""

    @dg.asset_check(asset=names.OFFSETS, description="No copy of an offset is ahead of its destination.")
    def offset_continuity(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with clean_failures(), projects.open() as project:
            lanes = list(audit_lanes(project, OffsetCopies(context.instance)))
        ahead = [str(lane.lane) for lane in lanes if lane.drift is Drift.AHEAD]
        asked = all(lane.problem is None for lane in lanes)
        return dg.AssetCheckResult(
            passed=not ahead and asked,
            severity=dg.AssetCheckSeverity.ERROR if ahead else dg.AssetCheckSeverity.WARN,
            description=f"restored or wiped: {', '.join(ahead)}" if ahead else None,
            metadata=audit_metadata(lanes),
        )

    return offset_continuity


def cdc_space(projects: Projects) -> Any:
    """Red when a node's CDC space is full, yellow when it soon will be or cannot be looked at."""

    @dg.asset_check(asset=names.COMMITLOG, description="Every node has room in its CDC space for what comes.")
    def cdc_space(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        found: dict[str, space.Space] = {}
        problems: dict[str, str] = {}
        with clean_failures(), projects.open() as project:
            for shard in project.shards():
                try:
                    found[shard] = space.look(project.source(shard).directory, project.limits(shard))
                except OSError as error:
                    problems[shard] = f"expected a readable directory, found: {error.strerror}"
        full = any(one.pressure is space.Pressure.FULL for one in found.values())
        return dg.AssetCheckResult(
            passed=not problems and all(one.pressure is space.Pressure.OK for one in found.values()),
            severity=dg.AssetCheckSeverity.ERROR if full else dg.AssetCheckSeverity.WARN,
            metadata={shard: one.message for shard, one in found.items()} | problems,
        )

    return cdc_space


def dead_letter_rate(destination: str, projects: Projects) -> Any:
    """Yellow when more than a hundredth of the changes is parked."""

    @dg.asset_check(
        asset=names.dead_letter_key(destination),
        name="dead_letter_rate",
        description=f"At most {_TOLERATED_SHARE:.0%} of the changes processed are parked.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with clean_failures(), projects.open() as project:
            sink = project.sink(destination)
            counts = sink.dead_letter_counts()
            states = [sink.state(lane) for lane in project.lanes(destination)]
        parked = sum(count.letters for count in counts)
        processed = sum(state.events_processed for state in states if state is not None)
        share = parked / processed if processed else float(bool(parked))
        return dg.AssetCheckResult(
            passed=share <= _TOLERATED_SHARE,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"share": round(share, 6), "events_processed": processed, **dead_letter_report(counts)},
        )

    return check


def masking_review(catalog: Catalog) -> Any:
    """Yellow for a table with text columns that no rule and no list names."""
    by_key = {names.cassandra_key(name): masks for name, masks in catalog.masks.items()}
    specs = [
        dg.AssetCheckSpec("masking_review", asset=key, description="Every column that may hold text is classified.")
        for key in by_key
    ]

    @dg.multi_asset_check(name="masking_review", specs=specs, can_subset=True)
    def review(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for key in sorted(context.selected_asset_check_keys):
            yield _reviewed(key, by_key[key.asset_key])

    return review


def _reviewed(key: dg.AssetCheckKey, masks: TableMasks) -> dg.AssetCheckResult:
    unclassified = sorted(name for name, decision in masks.decisions.items() if decision.needs_review)
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not unclassified,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "unclassified": ", ".join(unclassified) or "none",
            "masked": ", ".join(sorted(name for name, d in masks.decisions.items() if d.masked)) or "none",
        },
    )
