"""`purge`: takes away what nobody can see any more, once a late older write can no longer come."""

from __future__ import annotations

from typing import Annotated

import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.run import DestinationOption
from cdc_pipeline.errors import CdcError
from cdc_pipeline.project import Project

_DAY = 86_400


@app.command()
def purge(
    destination: DestinationOption = None,
    optimize: Annotated[
        bool, typer.Option("--optimize", help="Have ClickHouse merge all parts of each table afterwards.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Removes rows, elements of collections and ranges that have been deleted or expired for `tombstone_retention`.

    One pass, beside running lanes. What is dead is noted by one pass and removed by a later one: run it daily. In
    ClickHouse, where each row knows when it was written last, one pass does both, and elements stay.

    Example: `cdc-pipeline purge --destination warehouse`
    """
    out = output(as_json)
    failed = False
    rows = []
    with Project.load(config_path(config)) as project:
        for name in project.destinations(destination):
            try:
                for done in project.purge(name, optimize=optimize):
                    out.record({"destination": name, **vars(done)})
                    days = f"{done.retention / _DAY:g} d"
                    rows.append((name, done.table, days, done.rows, done.stripped, done.ranges, done.noted))
            except CdcError as error:  # the other destinations are not its business
                failed = True
                out.error(str(error))
    head = ["destination", "table", "retention", "rows removed", "rows trimmed", "ranges removed", "rows noted"]
    out.table("", head, rows)
    return int(failed)
