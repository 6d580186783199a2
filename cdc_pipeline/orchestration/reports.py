"""Results as metadata: counts, offsets and names; never a value of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from cdc_pipeline.change import START, Position
from cdc_pipeline.dlq import DeadLetterCount
from cdc_pipeline.errors import SinkError
from cdc_pipeline.load import Sink
from cdc_pipeline.orchestration.lane_drain import DrainEnd
from cdc_pipeline.results import LaneResult


def table_report(table: str, sink: Sink, result: LaneResult, end: DrainEnd) -> dict[str, Any]:
    """What a run did to one table."""
    parked = result.parked_by_table[table]
    metadata: dict[str, Any] = {
        "changes_applied": result.changes[table] - parked,
        "changes_parked": parked,
        "offset_from": _place(end.start),
        "offset_to": _place(end.end),
        "summary": dg.MetadataValue.md(run_summary(result, end)),
    }
    if result.lag_seconds is not None:
        metadata["lag_seconds"] = round(result.lag_seconds, 3)
    rows = _row_count(sink, table)
    if rows is not None:
        metadata["dagster/row_count"] = rows
    return metadata


def run_summary(result: LaneResult, end: DrainEnd) -> str:
    """The whole run as a markdown table."""
    facts = {
        "mutations": result.mutations,
        "of tables that are not loaded": result.filtered,
        "changes applied": result.applied,
        "changes parked": result.parked_changes,
        "micro-batches": result.micro_batches,
        "from": _place(end.start),
        "to": _place(end.end),
        "seconds": round(end.seconds, 3),
        **({"handed over": "another run took the lane"} if end.handed_over else {}),
        **{f"problem {number}": problem for number, problem in enumerate(result.problems[:10], 1)},
    }
    return markdown(("", "this run"), facts.items())


def dead_letter_report(counts: Sequence[DeadLetterCount]) -> dict[str, Any]:
    """What is parked at a destination: how many, of which table, and why."""
    rows = [(c.table or "(unknown)", c.reason, c.letters, f"{c.newest:%Y-%m-%d %H:%M:%S}Z") for c in counts]
    return {
        "parked": sum(count.letters for count in counts),
        "by_table": dg.MetadataValue.md(markdown(("table", "reason", "parked", "newest"), rows)),
    }


def markdown(head: Sequence[str], rows: Any) -> str:
    """A markdown table; `|` in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines)


def _place(position: Position) -> str:
    return "the start" if position == START else str(position)


def _row_count(sink: Sink, table: str) -> int | None:
    try:
        return sink.row_count(table)
    except SinkError:
        return None  # what is committed is reported even when the destination has gone since
