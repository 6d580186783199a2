"""`check`: everything that would fail later, now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cdc_pipeline import decode
from cdc_pipeline.change import parse_segment_name
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.check_archive import check_archive, check_space
from cdc_pipeline.cli.finding import Finding
from cdc_pipeline.cli.status import lane_status
from cdc_pipeline.decode import SegmentFile
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.load import postgres
from cdc_pipeline.project import Project


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Looks at configuration, keys, directories, destinations and schema. Exit code 1 if something would fail.

    Example: `cdc-pipeline check`
    """
    out = output(as_json)
    with Project.load(config_path(config)) as project:
        findings = list(dict.fromkeys(_findings(project)))  # two destinations may find the same of a table
    for one in findings:
        out.record(vars(one))
    out.table("", ["what", "state", "message"], [(f.what, f.state, f.message) for f in findings])
    return int(any(one.state == "failed" for one in findings))


def _findings(project: Project) -> Iterator[Finding]:
    yield Finding("configuration", "ok", f"lanes: {len(project.lanes())}")
    both = decode.COMPILED and postgres.COMPILED
    yield Finding(
        "build", "ok" if both else "warning", "compiled" if both else "interpreted: slow; is a C compiler there?"
    )
    yield _tried("schema", lambda: _selected(project))
    yield from _disagreements(project)
    yield from _rules(project)
    for shard in project.shards():
        yield from _shard(project, shard)
        yield from check_space(project, shard)
        yield from check_archive(project, shard)
    for destination in project.destinations():
        yield from _destination(project, destination)


def _rules(project: Project) -> Iterator[Finding]:
    try:
        idle = project.idle_rules()
    except CdcError as error:
        yield Finding("masking", "failed", str(error))
        return
    if idle:
        yield Finding("masking", "warning", f"rules that match no column: {', '.join(idle)}")


def _disagreements(project: Project) -> Iterator[Finding]:
    """Where the schema's source says otherwise than a log that was read to its end."""
    for shard in project.shards():
        try:
            said = project.disagreement(shard)
        except CdcError as error:
            yield Finding(f"shard {shard}", "failed", str(error))
            continue
        if said is not None:
            yield Finding("schema", "warning", said)


def _selected(project: Project) -> str:
    if project.selected:
        return f"{len(project.selected)} tables selected"
    if project.waits_for_tables:
        return "no table yet; those that are made in the log are loaded"
    raise ConfigurationError("expected at least one table with cdc = true that source.tables names, found none")


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except CdcError as error:
        return Finding(what, "failed", str(error))


def _shard(project: Project, shard: str) -> Iterator[Finding]:
    source = project.source(shard)
    yield _tried(f"shard {shard}", lambda: f"{len(source.segments())} segments in {source.directory}")
    for path in sorted(source.directory.glob("CommitLog-*.log")) if source.directory.is_dir() else ():
        if parse_segment_name(path.name) is None:
            continue
        if not os.access(path, os.R_OK):
            yield Finding(f"segment {path.name}", "failed", "expected the right to read it, found none")
            continue
        try:
            _open(path, project)
        except CdcError as error:
            yield Finding(f"segment {path.name}", "failed", str(error))


def _open(path: Path, project: Project) -> None:
    with SegmentFile(path, project.log_keys):
        pass


def _destination(project: Project, name: str) -> Iterator[Finding]:
    what = f"destination {name}"
    try:
        refused = [table for table in project.plan(name) if table.refusal is not None]
        for table in refused:
            yield Finding(f"table {table.table}", "warning", f"refused: {table.refusal}")
        sink = project.sink(name)
        loaded = project.loaded(sink)
        for lane in project.lanes(name):
            one = lane_status(lane, sink, project.source(lane.shard), project.limits(lane.shard))
            for loss in one.possible_loss:
                yield Finding(f"lane {lane}", "warning", loss)
            for segment in one.never_read:
                yield Finding(f"lane {lane}", "warning", f"segment {segment} was never read: load it by backfill")
            if one.dead_letters:
                yield Finding(f"lane {lane}", "warning", f"dead letters: {one.dead_letters}")
            for problem in one.problems:
                yield Finding(f"lane {lane}", "failed", problem)
        review = [f"{t}.{c}" for t, masks in loaded.items() for c, d in masks.decisions.items() if d.needs_review]
        if review:
            yield Finding("masking", "warning", f"nobody classified these text columns: {', '.join(review)}")
        yield Finding(what, "ok", f"{len(loaded)} tables")
    except CdcError as error:
        yield Finding(what, "failed", str(error))
