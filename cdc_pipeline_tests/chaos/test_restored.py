"""A destination that was restored from an older backup: the lane goes on from its offset, or refuses to leave a gap."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc_pipeline.archivist import LaneView
from cdc_pipeline.errors import LogGone, OffsetConflict
from cdc_pipeline.project import Project
from cdc_pipeline_tests.chaos.workload import Site
from cdc_pipeline_tests.integration.workspace import drained, lane, offset

MakeDatabase = Callable[[], str]


def backup(conninfo: str) -> Callable[[], None]:
    """A copy of a database; what is returned puts it back in the database's place."""
    name = str(conninfo_to_dict(conninfo)["dbname"])
    admin = make_conninfo(conninfo, dbname="postgres")

    def run(*statements: str) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    run(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
    return lambda: run(
        f"DROP DATABASE {name} WITH (FORCE)",
        f"ALTER DATABASE {name}_backup RENAME TO {name}",
    )


def drained_partly(project: Project, commits: int) -> None:
    """Loads some micro-batches."""
    runner = lane(project)
    runner.open("partly")
    left = iter(range(commits - 1))
    runner.drain(lambda: next(left, None) is None)


def test_goes_on_from_the_older_offset(site: Site, make_pg_database: MakeDatabase) -> None:
    """What was loaded since the backup is loaded again, and counted once: rows and offset are of one moment."""
    conninfo = make_pg_database()
    with site.workspace(conninfo).project() as project:
        drained_partly(project, 20)
    restore = backup(conninfo)
    with site.workspace(conninfo).project() as project:
        drained(project)
    restore()
    with site.workspace(conninfo).project() as project:
        assert offset(lane(project)).events_processed < site.changes
        site.assert_exact(project, conninfo, make_pg_database)


def test_restored_under_a_running_lane(site: Site, make_pg_database: MakeDatabase) -> None:
    """A lane that finds its destination behind itself says so instead of taking it for a younger writer's work."""
    conninfo = make_pg_database()
    with site.workspace(conninfo).project() as project:
        runner = lane(project)
        runner.open("before")
        left = iter(range(9))
        runner.drain(lambda: next(left, None) is None)
        runner.sink.close()
        restore = backup(conninfo)
        runner.drain(lambda: True)
        restore()
        runner.sink.close()
        with pytest.raises(OffsetConflict, match="the destination went back"):
            runner.drain()
        runner.open("again")
        runner.drain()
        site.assert_exact(project, conninfo, make_pg_database)


def archived(site: Site, project: Project, now: float) -> None:
    """Everything into the archive, and out of it what all lanes have passed."""
    for path in site.node.directory.iterdir():
        assert path.is_file()
    archivist = project.archivist("node1")
    swept = archivist.sweep()
    assert swept.problems == []
    archivist.prune(project.lane_views("node1"), 0.0, now)
    archivist.prune(project.lane_views("node1"), 0.0, now + 1)


def test_refuses_to_leave_a_gap(site: Site, make_pg_database: MakeDatabase) -> None:
    """Where the archive no longer holds what follows the older offset, the lane stops with one sentence, and nothing
    of the log behind the gap is loaded."""
    conninfo = make_pg_database()
    settings = {"source": {"archive": {"directory": str(site.folder / "archive"), "retention": "0s"}}}
    with site.workspace(conninfo, **settings).project() as project:
        drained_partly(project, 20)
    restore = backup(conninfo)
    site.node.settle()
    with site.workspace(conninfo, **settings).project() as project:
        drained(project)
        archived(site, project, time.time())
    restore()
    with site.workspace(conninfo, **settings).project() as project:
        before = offset(lane(project))
        with pytest.raises(LogGone, match=r"expected the log from CommitLog-7-\d+\.log:\d+ on, found that 3 segments"):
            drained(project)
        assert dataclasses.replace(before, epoch=before.epoch + 1, run_id="test") == offset(lane(project))


def test_a_gap_is_remembered(site: Site, make_pg_database: MakeDatabase) -> None:
    """The notes of segments that left are dropped after a month, but for the last: it still tells a lane of its gap."""
    conninfo = make_pg_database()
    settings = {"source": {"archive": {"directory": str(site.folder / "archive"), "retention": "0s"}}}
    site.node.settle()
    with site.workspace(conninfo, **settings).project() as project:
        runner = drained(project)
        archived(site, project, time.time())
        view = LaneView(runner.lane, runner.held.position, runner.sink.segments(runner.lane))
        project.archivist("node1").prune([view], 0.0, time.time() + 90 * 86400)
        assert len(project.archivist("node1").archive.manifests()) == 1
        (only,) = project.archivist("node1").archive.manifests()
        assert only.segment == site.node.path(2).name


def test_a_new_lane_says_what_it_begins_without(site: Site, make_pg_database: MakeDatabase) -> None:
    """A destination that is new, or was wiped, begins with what is there; that something left before is said."""
    settings = {"source": {"archive": {"directory": str(site.folder / "archive"), "retention": "0s"}}}
    site.node.settle()
    with site.workspace(make_pg_database(), **settings).project() as project:
        drained(project)
        archived(site, project, time.time())
    with site.workspace(make_pg_database(), **settings).project() as project:
        (problem,) = drained(project).result.problems
    assert "begins without what was written before: 3 segments from CommitLog-7-" in problem
