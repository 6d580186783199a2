"""`schema export`: the schema of a live cluster as a file; `schema history`: what the log did to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.run import ShardOption
from cdc_pipeline.config import CassandraSettings, ClusterSchema
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.project import Project
from cdc_pipeline.schema.cluster import read_rows

schema_app = typer.Typer(help="Cassandra's schema.", no_args_is_help=True)
app.add_typer(schema_app, name="schema")


@schema_app.callback()
def _family() -> None:
    """Cassandra's schema."""


@schema_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    config: ConfigOption = None,
) -> int:
    """Writes schema.json from the cluster of the configuration, or of CDC_CASSANDRA_CONTACT_POINTS.

    Example: `CDC_CASSANDRA_CONTACT_POINTS=10.0.0.1 cdc-pipeline schema export schema.json`
    """
    source: CassandraSettings | ClusterSchema = CassandraSettings()
    if not source.contact_points:
        configured = Project.load(config_path(config)).settings.source.schema_source
        if not isinstance(configured, ClusterSchema):
            raise ConfigurationError("expected contact_points of a cluster, found a schema file", key="source.schema")
        source = configured
    password = source.password.reveal() if source.password is not None else None
    rows = read_rows(source.contact_points, source.port, source.username, password)
    temporary = file.with_name(file.name + ".tmp")
    try:
        temporary.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise ConfigurationError(
            f"expected a file that can be written, found: {error.strerror}", where=str(file)
        ) from None
    return 0


@schema_app.command()
def history(shard: ShardOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Lists what DDL and TRUNCATE in the log did, by its place there, as far as lanes have read.

    Example: `cdc-pipeline schema history --shard node1`
    """
    out = output(as_json)
    with Project.load(config_path(config)) as project:
        for name in project.shards(shard):
            rows = []
            for entry in project.history(name).entries():
                place = {"shard": name, "position": str(entry.position)}
                for change in entry.changes:
                    record = {
                        **place,
                        "change": str(change.kind),
                        "table": change.keyspace if change.table is None else f"{change.keyspace}.{change.table}",
                        "column": change.column,
                        "detail": change.detail,
                        "truncated_micros": change.truncated_micros,
                    }
                    out.record(record)
                    rows.append(
                        (place["position"], record["change"], record["table"], change.column or "", change.detail)
                    )
                if not entry.changes:
                    out.record({**place, "change": "taken over", "detail": project.schema_source})
                    rows.append((place["position"], "taken over", "", "", project.schema_source))
            out.table(f"shard {name}", ["position", "change", "table", "column", "detail"], rows)
            if (difference := project.disagreement(name)) is not None:
                out.message(difference)
    return 0
