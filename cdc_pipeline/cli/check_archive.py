"""The archive's and the disk guard's part of `check`: rights, link or copy, room, and how full the CDC space is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cdc_pipeline.capture import space
from cdc_pipeline.capture.placing import can_link
from cdc_pipeline.cli.finding import Finding
from cdc_pipeline.project import Project


def check_space(project: Project, shard: str) -> Iterator[Finding]:
    """How full the CDC space of a shard is."""
    what = f"CDC space {shard}"
    try:
        found = space.look(project.source(shard).directory, project.limits(shard))
    except OSError as error:
        yield Finding(what, "failed", f"expected a readable directory, found: {error.strerror}")
        return
    state = {space.Pressure.OK: "ok", space.Pressure.WARNING: "warning", space.Pressure.FULL: "failed"}
    yield Finding(what, state[found.pressure], found.message)


def check_archive(project: Project, shard: str) -> Iterator[Finding]:
    """What a sweep of a shard needs and would do."""
    what = f"archive {shard}"
    source = project.source(shard)
    if source.archive is None:
        return
    try:
        source.archive.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield Finding(what, "failed", f"{source.archive}: expected the right to make it, found: {error.strerror}")
        return
    missing = [str(one) for one in (source.archive, source.directory) if not os.access(one, os.W_OK | os.X_OK)]
    if missing:
        yield Finding(what, "failed", f"expected the right to add and remove files in {', '.join(missing)}, found none")
        return
    yield _how(project, shard, source.directory, source.archive)


def _how(project: Project, shard: str, raw: Path, archive: Path) -> Finding:
    what = f"archive {shard}"
    free = project.archivist(shard).archive.free()
    sample = next(iter(sorted(raw.glob("CommitLog-*.log"))), None)
    why = can_link(sample, archive) if sample is not None else _elsewhere(raw, archive)
    if why is None:
        how = "linked" if sample is not None else "linked, as far as can be told without one"
        return Finding(what, "ok", f"finished segments will be {how}; {free // 2**20} MiB free")
    used = space.look(raw, project.limits(shard)).used
    text = f"finished segments will be copied: {why}; {free // 2**20} MiB free, {used // 2**20} MiB to copy now"
    return Finding(what, "warning" if free < 2 * used else "ok", text)


def _elsewhere(raw: Path, archive: Path) -> str | None:
    same = raw.stat().st_dev == archive.stat().st_dev
    return None if same else "the archive is on another file system"
