"""`demo`: a recorded Cassandra node, through Dagster's own definitions, into an embedded PostgreSQL and ClickHouse."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from cdc_pipeline.cli.app import JsonOption, app, output
from cdc_pipeline.cli.demo_files import DemoFolder
from cdc_pipeline.cli.demo_lane import Ended, load
from cdc_pipeline.cli.demo_servers import empty, examples
from cdc_pipeline.cli.demo_summary import Loaded, Outcome, show
from cdc_pipeline.cli.output import Output
from cdc_pipeline.load import read_truth
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo lives.", metavar="DIR")] = Path(".demo"),
    ui: Annotated[bool, typer.Option("--ui", help="Open the Dagster UI on it instead.")] = False,
    port: Annotated[int, typer.Option(help="Port of the UI.")] = 3000,
    as_json: JsonOption = False,
) -> int:
    """Replays the recorded segments of a shop and a clinic, and compares each destination with what Cassandra answered.

    Example: `cdc-pipeline demo`
    """
    out = output(as_json)
    folder = DemoFolder(directory.resolve())
    folder.make()
    os.environ["DAGSTER_HOME"] = str(folder.dagster_home)
    os.environ["CDC_CONFIG"] = str(folder.config)
    if ui:
        return _open_ui(out, folder, port)
    out.message("replaying a recorded Cassandra 5.0 node into an embedded PostgreSQL and an embedded ClickHouse")
    outcome = _replay(out, folder)
    show(out, outcome, directory)
    return int(not outcome.holds)


def _replay(out: Output, folder: DemoFolder) -> Outcome:
    """Loads everything into empty databases, side by side, and compares."""
    import dagster as dg

    started = time.monotonic()
    dg.DagsterInstance.get().dispose()  # makes its files; two processes would make them at once
    with Project.load(folder.config) as project:
        for destination in project.destinations():
            empty(project, destination)
        ended = _load(out, folder, project.lanes())
        loaded = [
            Loaded(lane.destination, project.settings.destinations[lane.destination].kind, one)
            for lane, one in ended.items()
        ]
        outcome = Outcome(loaded, project.selected)
        for one in loaded:
            _compare(project, folder, one, outcome)
    outcome.seconds = time.monotonic() - started
    return outcome


def _load(out: Output, folder: DemoFolder, lanes: Sequence[Lane]) -> dict[Lane, Ended]:
    """With a bar for each lane; the first comes first."""
    with _bar(out) as bar:
        tasks = {lane: bar.add_task(f"loading {lane.destination}", total=None) for lane in lanes}

        def progress(lane: Lane, done: int, total: int) -> None:
            bar.update(tasks[lane], completed=done, total=total)

        ended = load(folder.config, lanes, progress)
    return {lane: ended[lane] for lane in lanes}


def _compare(project: Project, folder: DemoFolder, loaded: Loaded, outcome: Outcome) -> None:
    """A destination with the truth, table by table."""
    sink = project.sink(loaded.destination)
    loaded.dead_letters = sink.dead_letter_counts()
    for name, masks in project.loaded(sink).items():
        truth = list(read_truth(folder.truth(name)))
        loaded.parity[name] = sink.compare(masks.table, masks, truth, folder.expected_at)
        outcome.examples += examples(project, loaded.destination, masks, truth)
    plan = project.plan(loaded.destination)
    loaded.refused = {table.table: table.refusal for table in plan if table.refusal is not None}


def _bar(out: Output) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return out.progress(*columns)


def _open_ui(out: Output, folder: DemoFolder, port: int) -> int:
    """`dagster dev` on the demo's project with empty destinations, until Ctrl-C."""
    import dagster as dg

    from cdc_pipeline.orchestration import OffsetCopies

    with Project.load(folder.config) as project, dg.DagsterInstance.get() as instance:
        for destination in project.destinations():
            empty(project, destination)
        for lane in project.lanes():
            OffsetCopies(instance).drop(lane)
    url = f"http://127.0.0.1:{port}"
    out.message(f"Dagster UI on {url}: turn on the sensor commit_log under Automation, and data moves; Ctrl-C ends it")
    with subprocess.Popen(_dagster_dev(port), cwd=folder.root) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            return 0


def _dagster_dev(port: int) -> Sequence[str]:
    module = ("-m", "cdc_pipeline.definitions")
    return [sys.executable, "-m", "dagster", "dev", *module, "-h", "127.0.0.1", "-p", str(port)]
