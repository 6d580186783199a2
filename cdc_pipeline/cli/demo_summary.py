"""What the demo shows at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from cdc_pipeline.cli.output import Output
from cdc_pipeline.dlq import DeadLetterCount
from cdc_pipeline.load import Parity, TruthRow, masked_text
from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.results import LaneResult
from cdc_pipeline.transform import TableMasks
from cdc_pipeline.types import to_json

_LONGEST = 28


@dataclass
class Outcome:
    """Everything that the summary says; `loading` are the seconds of the lane alone."""

    result: LaneResult
    loading: float
    selected: Mapping[str, TableMasks]
    dead_letters: Sequence[DeadLetterCount]
    parity: list[Parity] = field(default_factory=list)
    examples: list[tuple[str, str, str, str]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether every table equals its truth."""
        return all(parity.holds for parity in self.parity)

    def add_examples(
        self, connection: psycopg.Connection[Any], plan: TablePlan, masks: TableMasks, truth: Sequence[TruthRow]
    ) -> None:
        """One value of each masked column as it stands in the destination, and what it was on the recorded node."""
        for column in plan.table.columns:
            masker = masks.masker(column.name)
            if masker is None:
                continue
            name = names.quoted(column.name)
            row = execute_sql(
                connection, f"SELECT {name} FROM {plan.public} WHERE {name} IS NOT NULL LIMIT 1"
            ).fetchone()
            if row is None:
                continue
            after = str(row[0])
            before = next(
                raw for one in truth if (raw := one[column.name]) and masked_text(masker, column.type, raw) == after
            )
            shown = to_json(column.type, "destination")(before)
            strategy = str(masks.decisions[column.name].strategy)
            self.examples.append((f"{plan.table.name}.{column.name}", strategy, _cut(shown), _cut(after)))


def show(out: Output, outcome: Outcome, directory: Path) -> None:
    """The summary, for people or as one JSON object."""
    result = outcome.result
    changes = result.changes.total()
    out.record(
        {
            "mutations": result.mutations,
            "changes": changes,
            "applied": result.applied,
            "parked": dict(result.parked),
            "tables": dict(result.changes),
            "refused": outcome.refused,
            "parity": [
                {"table": p.table, "expected": p.expected, "equal": p.equal, "extra": len(p.extra)}
                for p in outcome.parity
            ],
            "masked_columns": [example[0] for example in outcome.examples],
            "changes_per_s": round(changes / outcome.loading),
            "seconds": round(outcome.seconds, 2),
        }
    )
    out.table(
        "masked columns: on the node, and in PostgreSQL", ["column", "strategy", "before", "after"], outcome.examples
    )
    rows = [
        (p.table, result.changes[p.table], p.expected, p.equal, len(p.extra), "100 %" if p.holds else "DIFFERS")
        for p in outcome.parity
    ]
    title = "does SELECT * on PostgreSQL equal SELECT * on Cassandra? (masked columns through the mask)"
    out.table(title, ["table", "changes", "rows on Cassandra", "equal", "extra", "parity"], rows)
    for table, reason in outcome.refused.items():
        out.text(f"not loaded: {table}: {reason}")
    _show_parked(out, outcome)
    out.text(
        f"{result.mutations} mutations, {changes} changes in {result.micro_batches} micro-batches, "
        f"{outcome.loading:.1f} s, {changes / outcome.loading:.0f} changes/s; {outcome.seconds:.1f} s in all"
    )
    config = directory / "cdc.yaml"
    out.text("\ntry next:")
    out.text(f"  .venv/bin/cdc-pipeline --config {config} sql warehouse 'SELECT * FROM ecommerce.orders LIMIT 3'")
    where = f"{directory}/cdc_raw --schema {directory}/schema.json"
    out.text(f"  .venv/bin/cdc-pipeline decode {where} --format changes | head -3")
    out.text("  make dev        # the Dagster UI on this project")


def _show_parked(out: Output, outcome: Outcome) -> None:
    if not outcome.dead_letters:
        out.text("parked: nothing")
        return
    rows = [(count.table or "", count.reason, count.letters) for count in outcome.dead_letters]
    out.table("parked", ["table", "reason", "changes"], rows)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
