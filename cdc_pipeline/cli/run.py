"""`run`: the pipeline without Dagster."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated

import typer

from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output, stopping
from cdc_pipeline.cli.output import Output
from cdc_pipeline.cli.summary import show_result
from cdc_pipeline.errors import CdcError, ConfigurationError, LaneLost
from cdc_pipeline.observability.logging import lane_context
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project

_POLL_SECONDS = 0.2

DestinationOption = Annotated[str | None, typer.Option(help="Only this destination.", metavar="D")]
ShardOption = Annotated[str | None, typer.Option(help="Only this shard.", metavar="S")]


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Drain what is durable now, and end.")] = False,
    destination: DestinationOption = None,
    shard: ShardOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Loads changes until stopped; with `--once` what is durable now. Ctrl-C ends between two micro-batches.

    Example: `cdc-pipeline --config cdc.yaml run --once`
    """
    out = output(as_json)
    started = time.monotonic()
    with Project.load(config_path(config)) as project, stopping() as asked:
        lanes = project.lanes(destination, shard)
        metrics = project.settings.metrics
        server = project.metrics.serve(metrics.port, metrics.host) if metrics is not None else None
        try:
            lanes_run = _Lanes(project, [project.lane(lane) for lane in lanes], out)
            lanes_run.run(once, asked)  # type: ignore[arg-type]
        finally:
            if server is not None:
                server.stop()
        for runner in lanes_run.runners:
            show_result(out, project, runner, time.monotonic() - started)
        return int(lanes_run.stopped or any(runner.result.needs_attention for runner in lanes_run.runners))


class _Lanes:
    """The lanes of one process, in turn; a lane that fails stops alone."""

    def __init__(self, project: Project, runners: Sequence[LaneRunner], out: Output) -> None:
        self._project = project
        self.runners = runners
        self._out = out
        self._run_id = uuid.uuid4().hex
        self.stopped = False

    def run(self, once: bool, asked: list[bool]) -> None:
        live = [runner for runner in self.runners if self._guarded(runner, self._open)]
        with self._out.progress() as bar:
            task = bar.add_task("loading", total=None)
            for runner in live:
                runner.on_commit = lambda r: bar.update(task, completed=r.result.changes.total())
            while live and not asked:
                live = [runner for runner in live if self._guarded(runner, lambda r: r.drain(lambda: bool(asked)))]
                if once:
                    return
                if not asked:
                    time.sleep(_POLL_SECONDS)

    def _open(self, runner: LaneRunner) -> None:
        runner.open(self._run_id)

    def _guarded(self, runner: LaneRunner, step: object) -> bool:
        """Whether the lane goes on after a step; a lane that is lost ends cleanly, one that fails says why."""
        assert callable(step)
        lane = runner.lane
        try:
            with lane_context(lane.destination, lane.shard, self._run_id):
                step(runner)
        except LaneLost as error:
            self._out.message(f"{error}: handed over")
            return False
        except ConfigurationError:
            raise
        except CdcError as error:
            self._project.metrics.failed(error)
            self._out.error(str(error))
            self.stopped = True
            return False
        return True
