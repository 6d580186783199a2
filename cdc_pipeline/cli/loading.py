"""What a load takes: one server, a database per workload, the server's own CPU time, and its limits."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch
from cdc_pipeline.config import Settings
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.load.postgres import ddl, merge
from cdc_pipeline.load.postgres.encode import CopyBatch, EncodedTable
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project

HOUR_MICROS = 3_600_000_000

Alter = Callable[[DecodedBatch], DecodedBatch]
Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Load:
    """One workload: changes, wall seconds, CPU seconds of this process and of the server."""

    changes: int
    seconds: float
    client_cpu: float
    server_cpu: float

    @property
    def rate(self) -> float:
        """Changes per second."""
        return self.changes / self.seconds

    @property
    def cpu_per_100k(self) -> float:
        """CPU seconds of both per 100 000 changes."""
        return (self.client_cpu + self.server_cpu) / self.changes * 100_000


def settings(directory: Path, schema: Path, folder: Path, tables: list[str], lanes: list[Lane]) -> Settings:
    """A project that loads the same segments, unmasked, in several lanes into databases of their own."""
    rules = folder / "masking.yaml"
    rules.write_text("pii_fields: []\nphi_fields: []\n")
    places = {
        name: {"kind": "postgres", "embedded": True, "directory": folder / name, "types": {"profile": "exact"}}
        for name in dict.fromkeys(lane.destination for lane in lanes)
    }
    source: dict[str, object] = {
        "shards": {lane.shard: {"directory": _linked(directory, folder / lane.shard)} for lane in lanes},
        "schema": {"file": schema.resolve()},
        "followed_schema": folder / "followed",
    }
    if tables:
        source["tables"] = tables
    return Settings.model_validate({"source": source, "destinations": places, "masking": {"rules": rules}})


def _linked(directory: Path, folder: Path) -> Path:
    """The same files in another directory: each shard has one of its own."""
    folder.mkdir(exist_ok=True)
    for file in directory.iterdir():
        link = folder / file.name
        if file.is_file() and not link.exists():
            link.symlink_to(file.resolve())
    return folder


def load(project: Project, lane: Lane, alter: Alter | None = None) -> Load:
    """Drains a lane; `alter` changes what was decoded, in the thread that decodes."""
    runner = project.lane(lane)
    if alter is not None:
        runner.log.alter = alter
    runner.open("bench")
    with psycopg.connect(project.conninfo(lane.destination), autocommit=True) as connection:
        busy = server_seconds(connection)
        started, cpu = time.perf_counter(), time.process_time()
        runner.drain()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        return Load(runner.result.changes.total(), seconds, cpu, server_seconds(connection) - busy)


def server_seconds(connection: Connection) -> float:
    """CPU seconds of all processes of a server on this machine, 0 where the system does not tell."""
    found = 0.0
    for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def younger(micros: int) -> Alter:
    """The same changes, written so many µs later."""

    def alter(decoded: DecodedBatch) -> DecodedBatch:
        return dataclasses.replace(decoded, tables=tuple(_moved(batch, micros) for batch in decoded.tables))

    return alter


def _moved(batch: ChangeBatch, micros: int) -> ChangeBatch:
    rows, cells = batch.rows, batch.cells
    for name in ("live_ts", "del_ts"):
        rows = _later(rows, name, micros)
    cells = _later(cells, "ts", micros)
    return dataclasses.replace(batch, make_rows=lambda: rows, make_cells=lambda: cells)


def _later(columns: pa.RecordBatch, name: str, micros: int) -> pa.RecordBatch:
    stamps = columns.column(name).to_numpy().copy()
    stamps[stamps != NO_TIMESTAMP] += micros
    return columns.set_column(columns.schema.get_field_index(name), name, pa.array(stamps))


def every_second() -> Alter:
    """Every second micro-batch; nothing of the others."""
    count = 0

    def alter(decoded: DecodedBatch) -> DecodedBatch:
        nonlocal count
        count += 1
        return decoded if count % 2 else dataclasses.replace(decoded, tables=())

    return alter


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
