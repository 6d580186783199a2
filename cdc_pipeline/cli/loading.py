"""What a load takes: one server for each set of workloads, our CPU time and the server's own."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch
from cdc_pipeline.config import ClickHouseDestination, Settings
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project

HOUR_MICROS = 3_600_000_000

Alter = Callable[[DecodedBatch], DecodedBatch]


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


def settings(
    directory: Path, schema: Path, folder: Path, tables: list[str], lanes: list[Lane], kind: str = "postgres"
) -> Settings:
    """A project that loads the same segments, unmasked, in several lanes, into an embedded server of a kind for each
    destination that they name."""
    rules = folder / "masking.yaml"
    rules.write_text("pii_fields: []\nphi_fields: []\n")
    places = {
        name: {"kind": kind, "embedded": True, "directory": folder / name, "types": {"profile": "exact"}}
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
    pids = server_pids(project, lane.destination)
    busy = sum(map(cpu_seconds, pids))
    started, cpu = time.perf_counter(), time.process_time()
    runner.drain()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    pids |= server_pids(project, lane.destination)
    return Load(runner.result.changes.total(), seconds, cpu, sum(map(cpu_seconds, pids)) - busy)


def server_pids(project: Project, destination: str) -> set[int]:
    """The processes of an embedded server on this machine: of ClickHouse its one, of PostgreSQL one per session."""
    place = project.settings.destinations[destination]
    if isinstance(place, ClickHouseDestination):
        named = str(place.directory).encode()
        return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if named in _read(path)}
    with psycopg.connect(project.conninfo(destination), autocommit=True) as connection:
        return {int(pid) for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()}


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process so far, 0 where the system does not tell."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def server_rss_mb(project: Project, destination: str) -> float:
    """The most memory that a process of an embedded server had so far, MB; 0 where the system does not tell."""
    peaks = [
        re.search(rb"VmHWM:\s+(\d+)", _read(Path(f"/proc/{pid}/status"))) for pid in server_pids(project, destination)
    ]
    return max((int(peak[1]) / 1024 for peak in peaks if peak is not None), default=0.0)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


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
