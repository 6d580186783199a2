"""`sql`: a query on a destination, read-only, values as the server writes them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.querying import querying
from cdc_pipeline.project import Project


@app.command()
def sql(
    destination: Annotated[str, typer.Argument(help="The destination's name.")],
    query: Annotated[str, typer.Argument(help="A SELECT.", metavar="SELECT")],
    as_of: Annotated[str | None, typer.Option(help="The instant that hides expired cells.", metavar="TIME")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Runs a query on a destination, embedded ones too, in the words of its server.

    Example: `cdc-pipeline sql warehouse 'SELECT * FROM ecommerce.users LIMIT 3'`
    """
    out = output(as_json)
    query = query.strip().rstrip(";")
    with Project.load(config_path(config)) as project:
        project.destinations(destination)
        with querying(project, destination, as_of) as connection:
            if out.as_json:
                for row in connection.json(query):
                    sys.stdout.buffer.write(row + b"\n")
                sys.stdout.buffer.flush()
                return 0
            names, rows = connection.table(query)
    out.table("", names, [[_shown(value) for value in row] for row in rows])
    out.text(f"{len(rows)} rows")
    return 0


def _shown(value: str | None) -> str:
    return "NULL" if value is None else value.replace("[", r"\[")
