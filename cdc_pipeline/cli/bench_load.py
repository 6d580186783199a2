"""`bench load`: changes per second into a new embedded server, beside what the server alone can do in the same run."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.cli import limits_clickhouse, limits_postgres
from cdc_pipeline.cli.app import JsonOption, output
from cdc_pipeline.cli.bench import Directory, SchemaFile, bench_app, beside, recording, show
from cdc_pipeline.cli.bench_decode import peak_rss_mb
from cdc_pipeline.cli.loading import HOUR_MICROS, Load, every_second, load, server_rss_mb, settings, younger
from cdc_pipeline.decode import COMPILED
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project

_INSERTS, _UPDATES, _HALF, _MIXED = (
    Lane("first", "inserts"),
    Lane("first", "updates"),
    Lane("second", "half"),
    Lane("second", "mixed"),
)


@dataclass(frozen=True)
class _Pass:
    """One pass: three workloads, what the server alone does, and other figures of it."""

    inserts: Load
    updates: Load
    mixed: Load
    limits: dict[str, float]
    others: dict[str, float]
    rss_mb: float


@bench_app.command("load")
def bench_load(
    destination: Annotated[str, typer.Argument(help="postgres or clickhouse.")],
    directory: Directory = None,
    schema: SchemaFile = None,
    tables: Annotated[list[str] | None, typer.Option("--table", help="A pattern; may be repeated.")] = None,
    passes: Annotated[int, typer.Option(help="Passes, each into new servers.", min=1)] = 3,
    as_json: JsonOption = False,
) -> int:
    """Loads all segments, unmasked: as they are, then an hour younger (updates), then with half of them there (mixed).

    Two limits of the server alone stand beside it. PostgreSQL: COPY of the same rows into tables without an index, and
    the guarded insert, which is COPY into a staging table and INSERT … ON CONFLICT from there. ClickHouse: inserts of
    100 000 of the same rows at once, into a MergeTree with the state's columns and key, and into a table as the state.

    Example: `cdc-pipeline bench load postgres data/cdc_raw`
    """
    if destination not in ("postgres", "clickhouse"):
        raise ConfigurationError(f"expected destination postgres or clickhouse, found {destination}")
    directory = directory or recording()
    done = [_pass(destination, directory, schema or beside(directory), tables or []) for _ in range(passes)]
    show(output(as_json), _figures(destination, done))
    return 0


def _pass(kind: str, directory: Path, schema: Path, tables: list[str]) -> _Pass:
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        lanes = [_INSERTS, _UPDATES, _HALF, _MIXED]
        with Project(settings(directory, schema, Path(folder), tables, lanes, kind)) as project:
            inserts = load(project, _INSERTS)
            rss_mb = peak_rss_mb()
            others = {} if kind == "postgres" else _clickhouse(project)
            found = _postgres_limits(project) if kind == "postgres" else _clickhouse_limits(project)  # of that minute
            updates = load(project, _UPDATES, younger(HOUR_MICROS))
            load(project, _HALF, every_second())
            mixed = load(project, _MIXED, younger(HOUR_MICROS))
            return _Pass(inserts, updates, mixed, found, others, rss_mb)


def _postgres_limits(project: Project) -> dict[str, float]:
    found = limits_postgres.limits(project, _INSERTS)
    return {"": found.copied, "guarded_": found.merged}


def _clickhouse_limits(project: Project) -> dict[str, float]:
    found = limits_clickhouse.limits(project, _INSERTS)
    return {"": found.plain_per_s, "state_": found.state_per_s}


def _clickhouse(project: Project) -> dict[str, float]:
    """After the inserts: parts of the table that has most of them, and the server's memory."""
    return {
        "most_parts": limits_clickhouse.parts(project, _INSERTS.destination),
        "server_peak_rss_mb": server_rss_mb(project, _INSERTS.destination),
    }


def _figures(kind: str, done: list[_Pass]) -> dict[str, object]:
    def median(figure: Callable[[_Pass], float]) -> float:
        return statistics.median(map(figure, done))

    found: dict[str, object] = {
        "benchmark": f"load {kind}",
        "changes": done[0].inserts.changes,
        "seconds": median(lambda one: one.inserts.seconds),
        "changes_per_s": median(lambda one: one.inserts.rate),
        "cpu_seconds": median(lambda one: one.inserts.client_cpu + one.inserts.server_cpu),
        "client_cpu_seconds": median(lambda one: one.inserts.client_cpu),
        "cpu_seconds_per_100k": median(lambda one: one.inserts.cpu_per_100k),
    }
    for name in done[0].limits:
        found[f"{name}limit_per_s"] = median(lambda one, name=name: one.limits[name])  # type: ignore[misc]
        found[f"{name}ratio"] = median(lambda one, name=name: one.inserts.rate / one.limits[name])  # type: ignore[misc]
    return {
        **found,
        "updates_per_s": median(lambda one: one.updates.rate),
        "updates_cpu_seconds_per_100k": median(lambda one: one.updates.cpu_per_100k),
        "mixed_per_s": median(lambda one: one.mixed.rate),
        "mixed_cpu_seconds_per_100k": median(lambda one: one.mixed.cpu_per_100k),
        **{name: max(one.others[name] for one in done) for name in done[0].others},
        "peak_rss_mb": done[0].rss_mb,  # before the rows for the limits are made, all at once
        "compiled": COMPILED,
    }
