"""`backfill`: segments loaded again, whatever the offsets say."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cdc_pipeline.capture import SegmentState
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.run import DestinationOption, ShardOption
from cdc_pipeline.cli.summary import show_result
from cdc_pipeline.errors import ConfigurationError, SinkError
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project


@app.command()
def backfill(
    segments: Annotated[list[str] | None, typer.Argument(help="Segment file names, in the order to load.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every segment at hand, by id.")] = False,
    destination: DestinationOption = None,
    shard: ShardOption = None,
    table: Annotated[list[str] | None, typer.Option(help="Only these tables, as keyspace.table.", metavar="T")] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Make the state of these tables again, where it was dropped by hand.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Loads segments again, in the order given, whatever the offsets say; changes nothing where nothing was missing.

    Example: `cdc-pipeline backfill --all --table shop.orders`
    """
    if bool(segments) == every:
        raise ConfigurationError("expected the names of segments, or --all")
    if anew and not (every and table and destination and shard is None):
        wanted = "expected --all, --destination and --table, and no --shard, with --anew"
        raise ConfigurationError(f"{wanted}: a state that is made again holds nothing yet")
    out = output(as_json)
    started = time.monotonic()
    attention = failed = False
    with Project.load(config_path(config)) as project:
        for lane in project.lanes(destination, shard):
            runner = project.lane(lane)
            _known_tables(project, table)
            chosen = _chosen(runner, segments)
            try:
                for name in (table or ()) if anew else ():
                    runner.sink.forget(name)
                with out.progress() as bar:
                    runner.backfill(bar.track(chosen, description=str(lane)), table or None)
            except SinkError as error:  # the other lanes are not its business
                attention = failed = True
                out.error(str(error))
            show_result(out, project, runner, time.monotonic() - started)
            attention |= runner.result.needs_attention
        for name in (table or ()) if anew and not failed else ():
            runner.sink.remember(name)
    return int(attention)


def _known_tables(project: Project, tables: list[str] | None) -> None:
    for name in tables or ():
        if name not in project.selected:
            raise ConfigurationError(f"expected a loaded table, found {name}", key="--table")


def _chosen(runner: LaneRunner, names: list[str] | None) -> list[SegmentState]:
    at_hand = {state.path.name: state for state in runner.source.segments()}
    if not names:
        return [state for state in at_hand.values() if state.has_changes]
    missing = [name for name in names if name not in at_hand]
    if missing:
        where = ", ".join(str(one) for one in (runner.source.directory, runner.source.archive) if one is not None)
        raise ConfigurationError(f"expected a segment of shard {runner.lane.shard}, found no {missing[0]}", where=where)
    return [at_hand[name] for name in names]
