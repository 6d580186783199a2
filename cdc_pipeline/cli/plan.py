"""`plan`: what every table would become; nothing is written."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from cdc_pipeline.capture.loss import begins_without
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.project import Project


@app.command()
def plan(
    destination: Annotated[str | None, typer.Option(help="Only this one.", metavar="D")] = None,
    ddl: Annotated[bool, typer.Option("--ddl", help="Print the DDL, too.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Shows per table and destination the types, masks, DDL, and what is refused and why. Writes nothing.

    Example: `cdc-pipeline plan --ddl`
    """
    out = output(as_json)
    with Project.load(config_path(config)) as project:
        for name in project.destinations(destination):
            for table in project.plan(name):
                out.record({"destination": name, **dataclasses.asdict(table)})
                if table.refusal is not None:
                    out.text(f"[bold]{table.table}[/] → {name}: refused: {table.refusal}\n")
                    continue
                rows = [(c.name, c.kind, c.cql_type, c.target_type, c.mask) for c in table.columns]
                title = f"{table.table} → {name}: {table.target}"
                out.table(title, ["column", "kind", "CQL type", "type", "mask"], rows)
                for note in table.notes:
                    out.text(note)
                for warning in table.warnings:
                    out.text(f"warning: {warning}")
                for statement in table.ddl if ddl else ():
                    out.text(statement + ";")
        for shard in project.shards():
            if (without := begins_without(project.source(shard))) is not None:
                out.message(f"shard {shard}: a lane that never loaded {without}")
            if (difference := project.disagreement(shard)) is not None:
                out.message(difference)
        if idle := project.idle_rules():
            out.message(f"masking rules that match no column: {', '.join(idle)}")
    return 0
