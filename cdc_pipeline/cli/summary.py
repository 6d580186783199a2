"""What a run did, for people and programs."""

from __future__ import annotations

from cdc_pipeline.cli.output import Output
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project


def show_result(out: Output, project: Project, runner: LaneRunner, seconds: float) -> None:
    """The counts of one lane; the problems go to stderr."""
    result = runner.result
    position = str(result.state.position) if result.state is not None else None
    backlog = runner.source.backlog(result.state.position) if result.state is not None else None
    changes = result.changes.total()
    out.record(
        {
            "lane": str(runner.lane),
            "destination": runner.lane.destination,
            "shard": runner.lane.shard,
            "mutations": result.mutations,
            "changes": changes,
            "applied": result.applied,
            "filtered": result.filtered,
            "parked": dict(result.parked),
            "micro_batches": result.micro_batches,
            "tables": dict(result.changes),
            "problems": result.problems,
            "position": position,
            "events_processed": result.state.events_processed if result.state is not None else None,
            "backlog_bytes": backlog,
            "lag_seconds": result.lag_seconds,
            "seconds": round(seconds, 3),
        }
    )
    parked = ", ".join(f"{count} {reason}" for reason, count in sorted(result.parked.items())) or "none"
    out.table(
        f"lane {runner.lane}",
        ["what", "how much"],
        [
            ("mutations read", f"{result.mutations}"),
            ("changes", f"{changes}"),
            ("applied", f"{result.applied}"),
            ("mutations filtered by configuration", f"{result.filtered}"),
            ("parked", parked),
            ("position", position or "-"),
            ("backlog, bytes", "-" if backlog is None else f"{backlog}"),
            ("seconds", f"{seconds:.2f}"),
            ("changes per second", f"{changes / seconds:.0f}" if seconds else ""),
        ],
    )
    for problem in result.problems:
        out.message(problem)
    if result.masking.needs_review:
        out.message(f"nobody classified these text columns: {', '.join(result.masking.unclassified)}")
