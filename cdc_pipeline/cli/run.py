"""`run`: the pipeline without Dagster."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from cdc_pipeline.capture import watching
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output, stopping
from cdc_pipeline.cli.archiving import Keeper
from cdc_pipeline.cli.output import Output
from cdc_pipeline.cli.summary import show_result
from cdc_pipeline.errors import CdcError, ConfigurationError, LaneLost, OffsetConflict, TransientSinkError
from cdc_pipeline.observability.logging import lane_context
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project

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
    """Loads changes until stopped; with `--once` what is durable now. Ctrl-C ends between two micro-batches, and a wait
    for a destination that is down, which without `--once` has no end of its own.

    Example: `cdc-pipeline --config cdc.yaml run --once`
    """
    out = output(as_json)
    started = time.monotonic()
    with Project.load(config_path(config)) as project, stopping() as asked:
        lanes = project.lanes(destination, shard)
        metrics = project.settings.metrics
        server = project.metrics.serve(metrics.port, metrics.host) if metrics is not None else None
        try:
            if idle := project.idle_rules():
                out.message(f"masking rules that match no column: {', '.join(idle)}")
            project.check_selected()
            lanes_run = _Lanes(project, lanes, out, once=once)
            lanes_run.run(asked)
        finally:
            if server is not None:
                server.stop()
        for runner in lanes_run.runners:
            show_result(out, project, runner, time.monotonic() - started)
        if any(isinstance(error, ConfigurationError) for error in lanes_run.failed):
            return ConfigurationError.exit_code
        return int(bool(lanes_run.failed) or any(runner.result.needs_attention for runner in lanes_run.runners))


class _Lanes:
    """The lanes of one process, a thread each: none waits for another, and one that fails stops alone."""

    def __init__(self, project: Project, lanes: Sequence[Lane], out: Output, *, once: bool) -> None:
        self._project = project
        self._lanes = lanes
        self._made: dict[Lane, LaneRunner] = {}
        self._out = out
        self._once = once
        self._run_id = uuid.uuid4().hex
        self.failed: list[CdcError] = []

    @property
    def runners(self) -> list[LaneRunner]:
        """Those of the lanes that came to have one."""
        return [self._made[lane] for lane in self._lanes if lane in self._made]

    def run(self, asked: threading.Event) -> None:
        """Returns when every lane has ended; what stopped one is said at once."""
        with self._out.progress() as bar:
            task = bar.add_task("changes", total=None)

            def show(_: LaneRunner) -> None:
                bar.update(task, completed=sum(runner.result.changes.total() for runner in self.runners))

            threads = [
                threading.Thread(target=self._lane, args=(lane, asked, show), name=str(lane)) for lane in self._lanes
            ]
            done = threading.Event()
            keepers = [] if self._once else self._keepers(done)
            for thread in (*threads, *keepers):
                thread.start()
            for thread in threads:
                while thread.is_alive():  # a join without a limit would keep signals waiting
                    thread.join(0.1)
            done.set()
            for thread in keepers:
                thread.join()

    def _keepers(self, done: threading.Event) -> list[threading.Thread]:
        """A thread per shard that moves its finished segments, if there is an archive, and watches its space."""
        keepers = [Keeper(self._project, shard, self._out) for shard in sorted({lane.shard for lane in self._lanes})]
        return [threading.Thread(target=keeper.run, args=(done,), name="archive") for keeper in keepers]

    def _lane(self, lane: Lane, asked: threading.Event, show: Callable[[LaneRunner], None]) -> None:
        try:
            with lane_context(lane.destination, lane.shard, self._run_id):
                self._loop(self._runner(lane, asked, show), asked)
        except LaneLost as error:
            self._out.message(f"{error}: handed over")
        except CdcError as error:
            self._fail(error)

    def _runner(self, lane: Lane, asked: threading.Event, show: Callable[[LaneRunner], None]) -> LaneRunner:
        """Made in the lane's own thread: where one destination's server does not start, no other waits."""
        runner = self._made[lane] = self._project.lane(lane)
        runner.on_commit = show
        runner.should_stop = asked.is_set
        if not self._once:
            runner.retry = dataclasses.replace(runner.retry, attempts=None)
        return runner

    def _loop(self, runner: LaneRunner, asked: threading.Event) -> None:
        opened = False
        with watching(runner.source) as changes:
            while not asked.is_set():
                try:
                    if not opened:
                        runner.open(self._run_id)
                        opened = True
                    runner.drain(asked.is_set)
                except OffsetConflict as error:
                    self._out.message(f"{error}; the lane goes on from there")
                    opened = False
                    continue
                except TransientSinkError as error:
                    if not asked.is_set():
                        raise
                    self._out.message(f"{error}: asked to stop, the lane ends where it stood")
                if self._once:
                    return
                self._measure(runner)
                changes.wait(asked)

    def _measure(self, runner: LaneRunner) -> None:
        if runner.result.state is not None:
            backlog = runner.source.backlog(runner.result.state.position)
            self._project.metrics.lane(runner.lane.destination, runner.lane.shard, backlog=backlog)

    def _fail(self, error: CdcError) -> None:
        self._project.metrics.failed(error)
        if str(error) not in {str(known) for known in self.failed}:  # of the configuration's all lanes may say the same
            self._out.error(str(error))
        self.failed.append(error)
