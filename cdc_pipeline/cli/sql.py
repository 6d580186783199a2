"""`sql`: a query on a destination, read-only, values as the server writes them."""

from __future__ import annotations

import sys
from typing import Annotated

import psycopg
import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.load.postgres.errors import translated
from cdc_pipeline.project import Project


@app.command()
def sql(
    destination: Annotated[str, typer.Argument(help="The destination's name.")],
    query: Annotated[str, typer.Argument(help="A SELECT.", metavar="SELECT")],
    as_of: Annotated[str | None, typer.Option(help="The instant that hides expired cells.", metavar="TIME")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Runs a query on a destination, embedded ones too.

    Example: `cdc-pipeline sql warehouse 'SELECT * FROM ecommerce.users LIMIT 3'`
    """
    out = output(as_json)
    with Project.load(config_path(config)) as project:
        project.destinations(destination)
        with translated(destination, "connecting"):
            connection = psycopg.connect(project.conninfo(destination), autocommit=True)
        with connection:
            _run(connection, "SET default_transaction_read_only = on")
            _run(connection, "SET timezone = 'UTC'")
            if as_of is not None:
                _check_instant(connection, as_of)
                connection.execute("SELECT set_config('cdc.as_of', %s, false)", (as_of,))
            query = query.strip().rstrip(";")
            if out.as_json:
                result = _run(connection, f"SELECT row_to_json(cdc_row.*)::text FROM ({query}\n) cdc_row")
                for row in range(result.ntuples):
                    sys.stdout.buffer.write((result.get_value(row, 0) or b"") + b"\n")
                sys.stdout.buffer.flush()
                return 0
            result = _run(connection, query)
            names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
            rows = [
                [_text(result.get_value(row, column)) for column in range(result.nfields)]
                for row in range(result.ntuples)
            ]
            out.table("", names, rows)
            out.text(f"{len(rows)} rows")
    return 0


def _text(value: bytes | None) -> str:
    return "NULL" if value is None else value.decode().replace("[", r"\[")


def _check_instant(connection: psycopg.Connection[tuple[object, ...]], as_of: str) -> None:
    try:
        connection.execute("SELECT %s::timestamptz", (as_of,))
    except psycopg.DataError:
        raise ConfigurationError(f"expected an instant as 2026-01-31T12:00:00Z, found {as_of}", key="--as-of") from None


def _run(connection: psycopg.Connection[tuple[object, ...]], query: str) -> psycopg.pq.abc.PGresult:
    """The raw result: values never pass through Python's types."""
    result = connection.pgconn.exec_(query.encode())
    if result.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK):
        message = (result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
        raise CdcError(f"query: {message}")
    return result
