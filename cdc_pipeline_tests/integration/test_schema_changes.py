"""DDL and TRUNCATE, followed in the log of a real node: from the first snapshot alone to the truth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.load import read_truth
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, rows
from cdc_pipeline_tests.recordings import Recording

Open = Callable[[str], Recording]
MakeDatabase = Callable[[], str]

NAME = "schema-changes-5.0"
NOT_IN_THE_LOG = "fleeting.t"
"""Its keyspace has no durable writes."""

TABLES = {"evolve.emptied", "evolve.later", "evolve.main", "evolve.promoted", "evolve.toggled", "passing.t"}
FIRST, MIDDLE, LAST = "schema_history/000.json", "schema_history/016.json", "schema.json"


@pytest.fixture
def recording(open_recording: Open) -> Recording:
    """The node whose schema changed."""
    return open_recording(NAME)


def workspace(
    folder: Path, recording: Recording, conninfo: str, schema: str, batch: int = 20_000, profile: str = "exact"
) -> Workspace:
    """The project of the recording with one of its snapshots."""
    path = recording.path / schema
    settings = {"batch": {"rows": batch}}
    return Workspace(folder, recording.main.path, path, conninfo, False, {"profile": profile}, settings)


def assert_truth(runner: LaneRunner, recording: Recording) -> None:
    """Every table that the log holds is what `SELECT` gave."""
    tables = {table.full_name: masks for table, masks in runner.loaded}
    files = sorted((recording.path / "expected").glob("*.raw.jsonl"))
    truth = {path.name.removesuffix(".raw.jsonl"): list(read_truth(path)) for path in files}
    assert tables.keys() == TABLES == truth.keys() - {NOT_IN_THE_LOG}
    for name, masks in tables.items():
        found = runner.sink.compare(masks.table, masks, truth[name], recording.meta["expected_at"])
        assert (name, found.missing, found.extra, found.equal) == (name, (), (), len(truth[name]))
    assert not runner.result.parked
    assert runner.result.problems == []


def step_by_step(make: Callable[[], Project], shard: str = "node1") -> int:
    """Loads a lane with a new process, as it were, for each micro-batch; returns how many there were."""
    steps = 0
    while True:
        with make() as project:
            (only,) = project.lanes(shard=shard)
            runner = project.lane(only)
            runner.open("test")
            if not runner.drain(should_stop=lambda: True):
                return steps
            steps += 1


@pytest.mark.parametrize("schema", [FIRST, MIDDLE, LAST])
@pytest.mark.parametrize("batch", [20_000, 7, 1])
def test_one_snapshot_reaches_the_truth(
    recording: Recording, pg_database: str, tmp_path: Path, schema: str, batch: int
) -> None:
    """From the snapshot before all DDL, from one in the middle, or from the last one, and however batches are cut."""
    with workspace(tmp_path, recording, pg_database, schema, batch).project() as project:
        assert_truth(drained(project), recording)


def test_native_types_reach_the_truth(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """`jsonb` shows the fields of an altered user type as the text of `exact` does."""
    with workspace(tmp_path, recording, pg_database, FIRST, profile="native").project() as project:
        assert_truth(drained(project), recording)


@pytest.mark.parametrize("kept", [True, False], ids=["from the history", "from the log"])
def test_resumed_behind_every_batch(recording: Recording, pg_database: str, tmp_path: Path, kept: bool) -> None:
    """A lane that begins anew behind each micro-batch finds the schema of its place, with the history or without it."""
    there = workspace(tmp_path, recording, pg_database, FIRST)

    def again() -> Project:
        if not kept:
            shutil.rmtree(there.folder / "followed_schema", ignore_errors=True)
        return there.project()

    assert step_by_step(again) > 30
    with again() as project:
        assert_truth(drained(project), recording)


def test_a_backfill_changes_nothing(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """Segments that are loaded again, the last one first, are read with the schema of their time; what was truncated,
    dropped and made again stays as it is."""
    with workspace(tmp_path, recording, pg_database, FIRST).project() as project:
        runner = drained(project)
        again = lane(project)
        again.backfill(reversed(again.source.segments()))
        assert again.result.changes.total() > 200
        assert not again.result.parked
        assert_truth(runner, recording)


def test_a_backfill_alone(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """Segments in the log's order without a lane reach the truth, too."""
    with workspace(tmp_path, recording, pg_database, LAST).project() as project:
        runner = lane(project)
        runner.backfill(runner.source.segments())
        assert_truth(runner, recording)


@pytest.mark.parametrize("ahead", [False, True], ids=["behind", "ahead"])
def test_two_nodes_at_different_places(recording: Recording, pg_database: str, tmp_path: Path, ahead: bool) -> None:
    """Replicas whose lanes stand before and behind a change fill the same tables."""
    there = workspace(tmp_path, recording, pg_database, FIRST)
    copy = shutil.copytree(recording.main.path, tmp_path / "node2")
    shards = {"node1": {"directory": str(there.segments)}, "node2": {"directory": str(copy)}}
    there.settings["source"] = {"shards": shards}

    def drain(shard: str) -> None:
        with there.project() as project:
            (only,) = project.lanes(shard=shard)
            runner = project.lane(only)
            runner.open("test")
            runner.drain()
            assert_truth(runner, recording)

    if ahead:
        drain("node1")
    else:
        with there.project() as project:
            (only,) = project.lanes(shard="node1")
            runner = project.lane(only)
            runner.open("test")
            while runner.drain(should_stop=lambda: True) and runner.held.position < Position(
                "CommitLog-7-1795356261330.log", 130_000
            ):
                pass
    step_by_step(there.project, "node2")
    drain("node2")
    drain("node1")


def test_what_the_log_did_is_kept(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """Every DDL statement and the truncation are listed with their places; a new project reads the same."""
    there = workspace(tmp_path, recording, pg_database, FIRST)
    with there.project() as project:
        drained(project)
    with there.project() as project:
        entries = list(project.history("node1").entries())
    said = [str(change) for entry in entries for change in entry.changes]
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    assert [one for one in said if one.startswith("evolve.main")] == [
        "evolve.main created",
        "evolve.main.extra column added (bigint)",
        "evolve.main.zz column added (list<text>)",
        "evolve.main.st column added (text)",
        "evolve.main.n column dropped",
        "evolve.main.n column added (int)",
        "evolve.main.m column dropped",
        "evolve.main.m column added (map<text, int>)",
        "evolve.main.v column dropped",
        "evolve.main.v column added (blob)",
        "evolve.main.i altered (user type altered)",
        "evolve.main.i altered (user type altered)",
        "evolve.main.position column renamed (ck → position)",
        "evolve.main.key column renamed (id → key)",
    ]
    assert "evolve.emptied truncated" in said
    assert said.count("evolve.later created") == said.count("passing.t created") == 2
    final = {table.full_name: table for table in entries[-1].schema.current}
    for table in recording.schema.current:
        assert final[table.full_name] == table


def test_the_snapshot_that_says_otherwise(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """Where the schema's file disagrees with the log it is said in one sentence; where it agrees, nothing is."""
    with workspace(tmp_path, recording, pg_database, MIDDLE).project() as project:
        drained(project)
        said = project.disagreement("node1")
        assert said is not None
        assert str(recording.path / MIDDLE) in said
        assert "evolve.promoted is only in the log" in said
        assert "\n" not in said
    with workspace(tmp_path, recording, pg_database, LAST).project() as project:
        assert project.disagreement("node1") is None


def test_tables_that_were_dropped_are_kept(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """The rows of a dropped table stay in its state table; users see the table that has its name now."""
    with workspace(tmp_path, recording, pg_database, FIRST).project() as project:
        drained(project)
    assert rows(pg_database, 'SELECT count(*) FROM cdc."passing.t"') == [(5,)]
    assert rows(pg_database, 'SELECT count(*) FROM cdc."passing.t#2"') == [(5,)]
    assert rows(pg_database, "SELECT DISTINCT v FROM passing.t") == [("round 1",)]
