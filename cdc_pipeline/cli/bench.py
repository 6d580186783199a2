"""`bench`: measures on given segments, several passes, and prints medians beside the limit of the same run."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.cli.app import JsonOption, app, output
from cdc_pipeline.cli.bench_decode import measure_decoding, peak_rss_mb
from cdc_pipeline.cli.demo_files import DemoFolder
from cdc_pipeline.cli.output import Output
from cdc_pipeline.config import Settings
from cdc_pipeline.decode import COMPILED
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres.encode import EncodedTable
from cdc_pipeline.load.postgres.sink import execute_sql
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project
from cdc_pipeline.schema import load_schema

bench_app = typer.Typer(help="Measure on your own segments.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

Directory = Annotated[Path | None, typer.Argument(help="A directory of segments; default the demo's recording.")]
Passes = Annotated[int, typer.Option(help="Counted passes after one that is not.", min=1)]
SchemaFile = Annotated[Path | None, typer.Option(help="Default: schema.json beside or above.", metavar="FILE")]


@bench_app.command("decode")
def bench_decode(
    directory: Directory = None,
    schema: SchemaFile = None,
    passes: Passes = 5,
    as_json: JsonOption = False,
) -> int:
    """Decodes all segments into Arrow columns, on one core, and says what each part of the work takes of it.

    Example: `cdc-pipeline bench decode data/cdc_raw`
    """
    directory = directory or _recording()
    loaded = load_schema(schema or _beside(directory))
    files = segment_files([directory])
    _show(output(as_json), measure_decoding(files, loaded, passes).record())
    return 0


@bench_app.command("load")
def bench_load(
    destination: Annotated[str, typer.Argument(help="postgres.")],
    directory: Directory = None,
    schema: SchemaFile = None,
    passes: Passes = 3,
    as_json: JsonOption = False,
) -> int:
    """Loads all segments, unmasked, into new embedded servers; the limit is COPY of the same rows without an index.

    Example: `cdc-pipeline bench load postgres data/cdc_raw`
    """
    if destination != "postgres":
        raise ConfigurationError(f"expected destination postgres, found {destination}")
    directory = directory or _recording()
    runs = [_load_once(directory, schema or _beside(directory)) for _ in range(passes)]
    seconds = statistics.median(run["seconds"] for run in runs)
    limit = statistics.median(run["limit_per_s"] for run in runs)
    changes = runs[0]["changes"]
    _show(
        output(as_json),
        {
            "benchmark": "load postgres",
            "changes": int(changes),
            "seconds": seconds,
            "changes_per_s": changes / seconds,
            "cpu_seconds": statistics.median(run["cpu"] for run in runs),
            "limit_per_s": limit,
            "ratio": changes / seconds / limit,
            "peak_rss_mb": peak_rss_mb(),
            "compiled": COMPILED,
        },
    )
    return 0


def _load_once(directory: Path, schema: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        rules = Path(folder, "masking.yaml")
        rules.write_text("pii_fields: []\nphi_fields: []\n")
        place = {
            "kind": "postgres",
            "embedded": True,
            "directory": Path(folder, "postgres"),
            "types": {"profile": "exact"},
        }
        settings = Settings.model_validate(
            {
                "source": {
                    "shards": {"bench": {"directory": directory.resolve()}},
                    "schema": {"file": schema.resolve()},
                },
                "destinations": {"bench": place},
                "masking": {"rules": rules},
            }
        )
        with Project(settings) as project:
            runner = project.lane(Lane("bench", "bench"))
            runner.open("bench")
            started, cpu = time.perf_counter(), time.process_time()
            runner.drain()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            with psycopg.connect(project.conninfo("bench"), autocommit=True) as connection:
                limit = _limit(project, connection)
            return {"seconds": seconds, "cpu": cpu, "changes": runner.result.changes.total(), "limit_per_s": limit}


def _limit(project: Project, connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """Rows per second of COPY into tables of the same columns without an index."""
    connection.execute("SET client_min_messages = warning")
    runner = project.lane(Lane("bench", "bench"))
    runner.prepare_tables()
    rows, seconds = 0, 0.0
    for segment in runner.source.segments():
        for decoded in runner.reading(segment):
            for batch in runner.prepared(decoded).batches:
                encoded = batch.payload
                assert isinstance(encoded, EncodedTable)
                if encoded.rows is None:
                    continue
                table = f"public.limit_{encoded.plan.table.id.hex}"
                execute_sql(connection, f"CREATE TABLE IF NOT EXISTS {table} (LIKE {encoded.plan.state})")
                started = time.perf_counter()
                copied = f"COPY {table} ({', '.join(encoded.rows.columns)}) FROM STDIN (FORMAT BINARY)"
                with connection.cursor() as cursor, cursor.copy(copied) as copy:
                    copy.write(encoded.rows.data)
                seconds += time.perf_counter() - started
                rows += encoded.rows.rows
    return rows / seconds


def _recording() -> Path:
    folder = DemoFolder(Path(".demo").resolve())
    folder.make()
    return folder.root / "cdc_raw"


def _beside(directory: Path) -> Path:
    for folder in (directory, directory.parent):
        if (folder / "schema.json").is_file():
            return folder / "schema.json"
    raise ConfigurationError("expected schema.json beside or above, or --schema FILE", where=str(directory))


def _show(out: Output, figures: dict[str, object]) -> None:
    out.record(figures)
    out.table("", ["figure", "value"], list(figures.items()))
