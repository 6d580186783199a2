"""What a PostgreSQL alone does with the rows that a lane brings: the limits beside which `bench load` stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from cdc_pipeline.load.postgres import ddl, merge
from cdc_pipeline.load.postgres.encode import CopyBatch, EncodedTable
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass
class Limits:
    """What one backend does with the same rows, made beforehand: rows and seconds of each way."""

    rows: int = 0
    copying: float = 0.0
    merging: float = 0.0

    @property
    def copied(self) -> float:
        """Rows per second of COPY into tables without an index."""
        return self.rows / self.copying

    @property
    def merged(self) -> float:
        """Rows per second of the guarded insert: COPY into a staging table and INSERT … ON CONFLICT from there."""
        return self.rows / self.merging


def limits(project: Project, lane: Lane) -> Limits:
    """Measured with the rows of a lane, on tables of the same columns that begin empty."""
    found = Limits()
    runner = project.lane(lane)
    runner.prepare_tables()
    with psycopg.connect(project.conninfo(lane.destination), autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        for encoded in _encoded(runner):
            if encoded.rows is not None:
                _measure(connection, found, encoded, encoded.rows)
    return found


def _encoded(runner: LaneRunner) -> Iterator[EncodedTable]:
    for segment in runner.source.segments():
        for decoded in runner.reading(segment):
            for batch in runner.prepared(decoded).batches:
                assert isinstance(batch.payload, EncodedTable)
                yield batch.payload


def _measure(connection: Connection, found: Limits, encoded: EncodedTable, rows: CopyBatch) -> None:
    number = encoded.plan.table.id.hex
    plain, keyed, staged = f'"limit {number}"', f'cdc."limit {number}"', f'"limit in {number}"'
    keys = ", ".join([*encoded.plan.partition_names, *([ddl.CLUSTERING] if encoded.plan.has_clustering else [])])
    state = encoded.plan.state
    execute_sql(connection, f"CREATE TABLE IF NOT EXISTS public.{plain} (LIKE {state})")
    execute_sql(connection, f"CREATE TABLE IF NOT EXISTS {keyed} (LIKE {state}) WITH (fillfactor = 80)")
    index = f'"limit {number}:key"'
    execute_sql(connection, f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {keyed} ({keys}) NULLS NOT DISTINCT")
    execute_sql(connection, merge.staging(state, staged))
    merging = merge.merge_rows(encoded.plan, staged, rows.columns, static=False, ledger=False)
    found.rows += rows.rows
    started = time.perf_counter()
    with connection.transaction():
        _copy(connection, f"public.{plain}", rows)
    found.copying += time.perf_counter() - started
    started = time.perf_counter()
    with connection.transaction():
        _copy(connection, staged, rows)
        execute_sql(connection, merging.replace(f"INSERT INTO {state} AS", f"INSERT INTO {keyed} AS"), prepare=True)
    found.merging += time.perf_counter() - started


def _copy(connection: Connection, table: str, rows: CopyBatch) -> None:
    with connection.cursor() as cursor, cursor.copy(merge.copy_in(table, rows.columns)) as copy:
        copy.write(rows.data)
