"""`demo`: a recorded Cassandra node, through Dagster's own definitions, into an embedded PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from psycopg.conninfo import make_conninfo
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from cdc_pipeline.change import START
from cdc_pipeline.cli.app import JsonOption, app, output
from cdc_pipeline.cli.demo_files import DemoFolder
from cdc_pipeline.cli.demo_summary import Outcome, show
from cdc_pipeline.cli.output import Output
from cdc_pipeline.destinations import EMBEDDED_DATABASE
from cdc_pipeline.load import read_truth
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.project import Project

_DESTINATION = "warehouse"


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo lives.", metavar="DIR")] = Path(".demo"),
    ui: Annotated[bool, typer.Option("--ui", help="Open the Dagster UI on it instead.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
    as_json: JsonOption = False,
) -> int:
    """Replays the recorded segments of a shop and a clinic, and compares the destination with what Cassandra answered.

    Example: `cdc-pipeline demo`
    """
    out = output(as_json)
    folder = DemoFolder(directory.resolve())
    folder.make()
    os.environ["DAGSTER_HOME"] = str(folder.dagster_home)
    os.environ["CDC_CONFIG"] = str(folder.config)
    if ui:
        return _open_ui(out, folder, port)
    out.message("replaying a recorded Cassandra 5.0 node into an embedded PostgreSQL")
    outcome = _replay(out, folder)
    show(out, outcome, directory)
    return int(not outcome.holds)


def _replay(out: Output, folder: DemoFolder) -> Outcome:
    """Loads everything into an empty database and compares."""
    import dagster as dg

    from cdc_pipeline.orchestration import materialize_lane
    from cdc_pipeline.pipeline import LaneRunner

    started = time.monotonic()
    with Project.load(folder.config) as project, dg.DagsterInstance.get() as instance:
        _empty(project)
        (lane,) = project.lanes(_DESTINATION)
        source = project.source(lane.shard)
        total = source.backlog(START)
        with _bar(out) as bar:
            task = bar.add_task(f"loading {_DESTINATION}", total=total)

            def watch(runner: LaneRunner) -> None:
                bar.update(task, completed=total - source.backlog(runner.held.position))

            loading = time.monotonic()
            result = materialize_lane(project, lane, instance, watch=watch, accept_destination=True)
            loaded = time.monotonic()
        sink = project.sink(_DESTINATION)
        assert isinstance(sink, PostgresSink)
        outcome = Outcome(result, loaded - loading, project.selected, sink.dead_letter_counts())
        with psycopg.connect(project.conninfo(_DESTINATION), autocommit=True) as connection:
            for name, masks in project.loaded(sink).items():
                plan = sink.table_plan(masks.table, masks)
                truth = list(read_truth(folder.truth(name)))
                outcome.parity.append(sink.compare(masks.table, masks, truth, folder.expected_at))
                outcome.add_examples(connection, plan, masks, truth)
            outcome.refused = {t.table: t.refusal for t in project.plan(_DESTINATION) if t.refusal is not None}
    outcome.seconds = time.monotonic() - started
    return outcome


def _empty(project: Project) -> None:
    """Begins with an empty database, so that every demo shows the whole way."""
    server = make_conninfo(project.conninfo(_DESTINATION), dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {EMBEDDED_DATABASE} WITH (FORCE)")


def _bar(out: Output) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return out.progress(*columns)


def _open_ui(out: Output, folder: DemoFolder, port: int) -> int:
    """`dagster dev` on the demo's project with an empty destination, until Ctrl-C."""
    import dagster as dg

    from cdc_pipeline.orchestration import OffsetCopies

    with Project.load(folder.config) as project, dg.DagsterInstance.get() as instance:
        _empty(project)
        for lane in project.lanes(_DESTINATION):
            OffsetCopies(instance).drop(lane)
    url = f"http://127.0.0.1:{port}"
    out.message(f"Dagster UI on {url}: turn on the sensor commit_log under Automation, and data moves; Ctrl-C ends it")
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-m",
        "cdc_pipeline.definitions",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with subprocess.Popen(command, cwd=folder.root) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            return 0
