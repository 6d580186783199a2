"""What a ClickHouse alone does with the rows that a lane brings, and what is left of a load in it."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from cdc_pipeline.load.clickhouse import ddl
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.encode import EncodedTable
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project

_AT_ONCE = 100_000
"""Rows of an insert that is measured."""


@dataclass
class Limits:
    """What one connection does with the same rows, made beforehand: rows and seconds of each way."""

    rows: int = 0
    plain: float = 0.0
    state: float = 0.0

    @property
    def plain_per_s(self) -> float:
        """Rows per second into a MergeTree that has the state's columns."""
        return self.rows / self.plain

    @property
    def state_per_s(self) -> float:
        """Rows per second into a table as the state's own."""
        return self.rows / self.state


def limits(project: Project, lane: Lane) -> Limits:
    """Measured with the rows of a lane, Arrow inserts of 100 000 rows into tables that begin empty."""
    found = Limits()
    runner = project.lane(lane)
    runner.prepare_tables()
    rows: defaultdict[TablePlan, list[pa.Table]] = defaultdict(list)
    for segment in runner.source.segments():
        for decoded in runner.reading(segment):
            for batch in runner.prepared(decoded).batches:
                assert isinstance(batch.payload, EncodedTable)
                if batch.payload.rows is not None:
                    rows[batch.payload.plan].append(batch.payload.rows)
    with closing(Connection(project.address(lane.destination))) as connection:
        connection.run("CREATE DATABASE IF NOT EXISTS cdc_limit")
        for plan, parts in rows.items():
            _measure(connection, found, plan, pa.concat_tables(parts, promote_options="default"))
    return found


def _measure(connection: Connection, found: Limits, plan: TablePlan, rows: pa.Table) -> None:
    plain, state = (f"cdc_limit.`{way} {plan.table.id.hex}`" for way in ("plain", "state"))
    _, listed, key = next(one for one in ddl.tables(plan) if one[0] == plan.state)
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in listed)
    order = f"ORDER BY ({', '.join(map(quoted, key))}) SETTINGS allow_nullable_key = 1"
    connection.run(f"CREATE OR REPLACE TABLE {plain} ({columns}) ENGINE = MergeTree {order}")
    connection.run(f"CREATE OR REPLACE TABLE {state} AS {plan.state}")
    batches = [rows.slice(at, _AT_ONCE) for at in range(0, rows.num_rows, _AT_ONCE)]
    found.rows += rows.num_rows
    found.plain += _seconds(connection, plain, batches)
    found.state += _seconds(connection, state, batches)


def _seconds(connection: Connection, table: str, batches: list[pa.Table]) -> float:
    started = time.perf_counter()
    for batch in batches:
        connection.insert(table, batch)
    return time.perf_counter() - started


def parts(project: Project, destination: str) -> int:
    """Active parts of the table of ours that has most of them now."""
    query = (
        "SELECT max(found) FROM (SELECT count() AS found FROM system.parts WHERE active AND database = 'cdc' "
        "GROUP BY table)"
    )
    with closing(Connection(project.address(destination))) as connection:
        return int(connection.rows(query)[0][0])
