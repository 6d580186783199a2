"""`archive`: what lies in the archive, moving segments in and out, and whether they are what they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import typer

from cdc_pipeline.archivist import Archivist, LaneView
from cdc_pipeline.capture.archive import Outcome
from cdc_pipeline.capture.manifest import Manifest
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.cli.run import ShardOption
from cdc_pipeline.errors import CdcError
from cdc_pipeline.project import Project

archive_app = typer.Typer(help="Finished segments that left cdc_raw.", no_args_is_help=True)
app.add_typer(archive_app, name="archive")


@archive_app.command()
def sweep(shard: ShardOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Moves finished segments from cdc_raw to the archive, once. `run` and Dagster's `archive` sensor go on doing it.

    Example: `cdc-pipeline archive sweep`
    """
    out = output(as_json)
    attention = False
    rows = []
    with Project.load(config_path(config)) as project:
        for name, archivist in _archivists(project, shard):
            swept = archivist.sweep()
            attention |= bool(swept.problems)
            if swept.busy:
                out.message(f"shard {name}: another process sweeps it")
            for problem in swept.problems:
                out.message(f"shard {name}: {problem}")
            out.record(
                {
                    "shard": name,
                    "freed_bytes": swept.freed,
                    "segments": {taken.segment: str(taken.outcome) for taken in swept.taken},
                    "problems": swept.problems,
                }
            )
            rows.append((name, *(swept.count(outcome) for outcome in Outcome), swept.freed))
    out.table("", ["shard", *Outcome, "bytes freed"], rows)
    return int(attention)


@archive_app.command(name="list")
def list_(shard: ShardOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Shows the segments of the archive with what they hold, and which lanes still need them.

    Example: `cdc-pipeline archive list --json`
    """
    out = output(as_json)
    rows: list[tuple[object, ...]] = []
    with Project.load(config_path(config)) as project:
        for name, archivist in _archivists(project, shard):
            lanes, problem = _lanes(project, name)
            if problem is not None:
                out.message(problem)
            for manifest in archivist.archive.manifests():
                state = _state(manifest, lanes, project.retention)
                out.record({"shard": name, "state": state, **_record(manifest)})
                rows.append((name, manifest.segment, manifest.digest.size, manifest.contents.mutations, state))
            for segment in archivist.archive.undescribed():
                out.record({"shard": name, "segment": segment, "state": "no manifest"})
                rows.append((name, segment, "", "", "no manifest: the next sweep writes it"))
    out.table("", ["shard", "segment", "bytes", "mutations", "state"], rows)
    return 0


@archive_app.command()
def prune(shard: ShardOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Removes segments that every lane has passed and whose retention is over.

    Example: `cdc-pipeline archive prune`
    """
    out = output(as_json)
    rows = []
    damaged = False
    with Project.load(config_path(config)) as project:
        for name in project.shards(shard):
            pruned = project.prune(name)
            held = ", ".join(f"{lane}: {count}" for lane, count in sorted(pruned.held.items()))
            for segment in pruned.damaged:
                damaged = True
                out.message(f"shard {name}: segment {segment} is damaged: it stays until somebody removes it")
            out.record(
                {
                    "shard": name,
                    "removed": pruned.removed,
                    "freed_bytes": pruned.freed,
                    "held_by": dict(pruned.held),
                    "damaged": pruned.damaged,
                }
            )
            rows.append((name, len(pruned.removed), pruned.freed, held or "nobody"))
    out.table("", ["shard", "segments removed", "bytes freed", "segments held back by"], rows)
    return int(damaged)


@archive_app.command()
def verify(shard: ShardOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Reads every archived segment and compares it with its manifest. Exit code 1 if one differs or is missing.

    Example: `cdc-pipeline archive verify`
    """
    out = output(as_json)
    wrong = 0
    rows = []
    with Project.load(config_path(config)) as project, out.progress() as bar:
        for name, archivist in _archivists(project, shard):
            manifests = [one for one in archivist.archive.manifests() if one.removed_at is None]
            problems = []
            for manifest in bar.track(manifests, description=f"reading {name}"):
                if problem := archivist.archive.verify(manifest):
                    problems.append(problem)
                    out.message(f"shard {name}: {problem}")
            wrong += len(problems)
            out.record({"shard": name, "segments": len(manifests), "problems": problems})
            rows.append((name, len(manifests), len(problems)))
    out.table("", ["shard", "segments", "problems"], rows)
    return int(bool(wrong))


def _archivists(project: Project, shard: str | None) -> Iterator[tuple[str, Archivist]]:
    for name in project.shards(shard):
        yield name, project.archivist(name)


def _lanes(project: Project, shard: str) -> tuple[list[LaneView] | None, str | None]:
    """Where the lanes stand, or why that is not known."""
    try:
        return project.lane_views(shard), None
    except CdcError as error:
        return None, str(error)


def _state(manifest: Manifest, lanes: list[LaneView] | None, retention: float) -> str:
    if manifest.removed_at is not None:
        return f"removed {_day(manifest.removed_at)}"
    if lanes is None:
        return "not known"
    needed = [str(view.lane) for view in lanes if not view.has_passed(manifest)]
    if needed:
        return f"needed by {', '.join(needed)}"
    if manifest.contents.damage:
        return "damaged: stays"
    if manifest.passed_at is None:
        return "passed"
    return f"passed, stays until {_day(manifest.passed_at + retention)}"


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def _record(manifest: Manifest) -> dict[str, object]:
    contents = manifest.contents
    return {
        "segment": manifest.segment,
        "bytes": manifest.digest.size,
        "sha256": manifest.digest.sha256,
        "first_position": contents.first_position,
        "last_position": contents.last_position,
        "mutations": contents.mutations,
        "tables": dict(contents.tables),
        "damage": list(contents.damage),
        "method": manifest.method,
        "archived_at": _day(manifest.archived_at),
        "passed_at": _day(manifest.passed_at) if manifest.passed_at is not None else None,
    }
