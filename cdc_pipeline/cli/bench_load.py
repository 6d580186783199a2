"""`bench load`: changes per second into a new embedded server, beside what the server alone can do in the same run."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.cli.app import JsonOption, output
from cdc_pipeline.cli.bench import Directory, SchemaFile, bench_app, beside, recording, show
from cdc_pipeline.cli.bench_decode import peak_rss_mb
from cdc_pipeline.cli.loading import HOUR_MICROS, Limits, Load, every_second, limits, load, settings, younger
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
    inserts: Load
    updates: Load
    mixed: Load
    limits: Limits
    rss_mb: float


@bench_app.command("load")
def bench_load(
    destination: Annotated[str, typer.Argument(help="postgres.")],
    directory: Directory = None,
    schema: SchemaFile = None,
    tables: Annotated[list[str] | None, typer.Option("--table", help="A pattern; may be repeated.")] = None,
    passes: Annotated[int, typer.Option(help="Passes, each into new servers.", min=1)] = 3,
    as_json: JsonOption = False,
) -> int:
    """Loads all segments, unmasked: as they are, then an hour younger (updates), then with half of them there (mixed).

    Two limits of the server alone stand beside it: COPY of the same rows into tables without an index, and the
    guarded insert, which is COPY into a staging table and INSERT … ON CONFLICT from there.

    Example: `cdc-pipeline bench load postgres data/cdc_raw`
    """
    if destination != "postgres":
        raise ConfigurationError(f"expected destination postgres, found {destination}")
    directory = directory or recording()
    done = [_pass(directory, schema or beside(directory), tables or []) for _ in range(passes)]
    show(output(as_json), _figures(done))
    return 0


def _pass(directory: Path, schema: Path, tables: list[str]) -> _Pass:
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        lanes = [_INSERTS, _UPDATES, _HALF, _MIXED]
        with Project(settings(directory, schema, Path(folder), tables, lanes)) as project:
            inserts = load(project, _INSERTS)
            rss_mb = peak_rss_mb()
            updates = load(project, _UPDATES, younger(HOUR_MICROS))
            load(project, _HALF, every_second())
            mixed = load(project, _MIXED, younger(HOUR_MICROS))
            return _Pass(inserts, updates, mixed, limits(project, _INSERTS), rss_mb)


def _figures(done: list[_Pass]) -> dict[str, object]:
    def median(figure: Callable[[_Pass], float]) -> float:
        return statistics.median(map(figure, done))

    limit, guarded = median(lambda one: one.limits.copied), median(lambda one: one.limits.merged)
    rate = median(lambda one: one.inserts.rate)
    return {
        "benchmark": "load postgres",
        "changes": done[0].inserts.changes,
        "seconds": median(lambda one: one.inserts.seconds),
        "changes_per_s": rate,
        "cpu_seconds": median(lambda one: one.inserts.client_cpu + one.inserts.server_cpu),
        "client_cpu_seconds": median(lambda one: one.inserts.client_cpu),
        "cpu_seconds_per_100k": median(lambda one: one.inserts.cpu_per_100k),
        "limit_per_s": limit,
        "ratio": rate / limit,
        "guarded_limit_per_s": guarded,
        "guarded_ratio": rate / guarded,
        "updates_per_s": median(lambda one: one.updates.rate),
        "updates_cpu_seconds_per_100k": median(lambda one: one.updates.cpu_per_100k),
        "mixed_per_s": median(lambda one: one.mixed.rate),
        "mixed_cpu_seconds_per_100k": median(lambda one: one.mixed.cpu_per_100k),
        "peak_rss_mb": max(one.rss_mb for one in done),
        "compiled": COMPILED,
    }
