"""What the demo shows at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cdc_pipeline.cli.demo_lane import Ended
from cdc_pipeline.cli.output import Output
from cdc_pipeline.dlq import DeadLetterCount
from cdc_pipeline.load import Parity
from cdc_pipeline.transform import TableMasks

_TITLES = {"postgres": "PostgreSQL", "clickhouse": "ClickHouse", "timescaledb": "TimescaleDB"}


@dataclass
class Loaded:
    """What a lane did, and how its destination compares, by table."""

    destination: str
    kind: str
    ended: Ended
    parity: dict[str, Parity] = field(default_factory=dict)
    dead_letters: Sequence[DeadLetterCount] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The destination's system, as people write it."""
        return _TITLES[self.kind]

    @property
    def changes(self) -> int:
        """How many it read."""
        return self.ended.changes.total()


@dataclass
class Outcome:
    """Everything that the summary says."""

    lanes: Sequence[Loaded]
    selected: Mapping[str, TableMasks]
    examples: list[tuple[str, str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every table of every destination equals its truth."""
        return all(parity.holds for lane in self.lanes for parity in lane.parity.values())


def show(out: Output, outcome: Outcome, directory: Path) -> None:
    """The summary, for people or as one JSON object for each lane."""
    for lane in outcome.lanes:
        out.record(_record(lane, outcome))
    head = ["column", "strategy", "before", "after"]
    out.table("masked columns: on the node, and in PostgreSQL", head, outcome.examples)
    _show_parity(out, outcome)
    for lane in outcome.lanes:
        for table, reason in lane.refused.items():
            out.text(f"not loaded into {lane.title}: {table}: {reason}")
    parked = [
        (lane.title, one.table or "", one.reason, one.letters) for lane in outcome.lanes for one in lane.dead_letters
    ]
    if parked:
        out.table("parked", ["destination", "table", "reason", "changes"], parked)
    else:
        out.text("parked: nothing")
    for lane in outcome.lanes:
        out.text(
            f"{lane.title}: {lane.ended.mutations} mutations, {lane.changes} changes in "
            f"{lane.ended.micro_batches} micro-batches, {lane.ended.seconds:.1f} s"
        )
    out.text(f"{outcome.seconds:.1f} s in all, both lanes side by side")
    _show_next(out, directory)


def _record(lane: Loaded, outcome: Outcome) -> dict[str, object]:
    result = lane.ended
    return {
        "destination": lane.destination,
        "kind": lane.kind,
        "mutations": result.mutations,
        "changes": lane.changes,
        "applied": result.applied,
        "parked": dict(result.parked),
        "tables": dict(result.changes),
        "refused": lane.refused,
        "parity": [
            {"table": p.table, "expected": p.expected, "equal": p.equal, "extra": len(p.extra)}
            for p in lane.parity.values()
        ],
        "masked_columns": [example[0] for example in outcome.examples],
        "changes_per_s": round(lane.changes / result.seconds),
        "seconds": round(outcome.seconds, 2),
    }


def _show_parity(out: Output, outcome: Outcome) -> None:
    """A row for each table, two columns for each destination."""
    rows = []
    for table in sorted({table for lane in outcome.lanes for table in lane.parity}):
        found = [lane.parity.get(table) for lane in outcome.lanes]
        known = [one for one in found if one is not None]
        changes = max(lane.ended.changes[table] for lane in outcome.lanes)
        counts = [count for one in found for count in ((one.equal, len(one.extra)) if one else ("not loaded", ""))]
        rows.append((table, changes, known[0].expected, *counts, "100 %" if all(p.holds for p in known) else "DIFFERS"))
    head = ["table", "changes", "rows on Cassandra"]
    for lane in outcome.lanes:
        head += [f"{lane.title} equal", "extra"]
    title = "does SELECT * there equal SELECT * on Cassandra? (masked columns through the mask)"
    out.table(title, [*head, "parity"], rows)


def _show_next(out: Output, directory: Path) -> None:
    config = directory / "cdc.yaml"
    out.text("\ntry next:")
    for destination in ("warehouse", "lake"):
        out.text(
            f"  .venv/bin/cdc-pipeline --config {config} sql {destination} 'SELECT * FROM ecommerce.orders LIMIT 3'"
        )
    where = f"{directory}/cdc_raw --schema {directory}/schema.json"
    out.text(f"  .venv/bin/cdc-pipeline decode {where} --format changes | head -3")
    out.text("  make dev        # the Dagster UI on this project")
