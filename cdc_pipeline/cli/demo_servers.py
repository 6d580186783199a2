"""The demo's own servers: emptied before a replay, and looked into for what a mask made of a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import psycopg
from psycopg.conninfo import make_conninfo

from cdc_pipeline.config import ClickHouseDestination
from cdc_pipeline.destinations import EMBEDDED_DATABASE
from cdc_pipeline.load import TruthRow, masked_text
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.project import Project
from cdc_pipeline.transform import TableMasks
from cdc_pipeline.types import to_json

_LONGEST = 28
_OF_CLICKHOUSE = frozenset({"default", "system", "information_schema", "INFORMATION_SCHEMA"})


def empty(project: Project, destination: str) -> None:
    """Begins with an empty database, so that every demo shows the whole way."""
    if isinstance(project.settings.destinations[destination], ClickHouseDestination):
        with closing(Connection(project.address(destination))) as connection:
            for (name,) in connection.rows("SELECT name FROM system.databases"):
                if name not in _OF_CLICKHOUSE:
                    connection.run(f"DROP DATABASE {quoted(name)} SYNC")
        return
    server = make_conninfo(project.conninfo(destination), dbname="postgres")
    with psycopg.connect(server, autocommit=True) as there:
        there.execute(f"DROP DATABASE IF EXISTS {EMBEDDED_DATABASE} WITH (FORCE)")


def examples(
    project: Project, destination: str, masks: TableMasks, truth: Sequence[TruthRow]
) -> Iterator[tuple[str, str, str, str]]:
    """One value of each masked column as it stands in a PostgreSQL, and what it was on the recorded node: column,
    strategy, before, after. Of a ClickHouse none: the same mask was asked."""
    if isinstance(project.settings.destinations[destination], ClickHouseDestination):
        return
    table = masks.table
    public = f"{names.quoted(table.keyspace)}.{names.quoted(table.name)}"
    with psycopg.connect(project.conninfo(destination), autocommit=True) as connection:
        for column in table.columns:
            masker = masks.masker(column.name)
            if masker is None:
                continue
            name = names.quoted(column.name)
            query = f"SELECT {name} FROM {public} WHERE {name} IS NOT NULL LIMIT 1"
            row = execute_sql(connection, query).fetchone()
            if row is None:
                continue
            after = str(row[0])
            before = next(
                raw for one in truth if (raw := one[column.name]) and masked_text(masker, column.type, raw) == after
            )
            shown = to_json(column.type, "destination")(before)
            strategy = str(masks.decisions[column.name].strategy)
            yield f"{table.name}.{column.name}", strategy, _cut(shown), _cut(after)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
