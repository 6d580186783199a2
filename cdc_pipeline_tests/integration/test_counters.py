"""Counter tables of real nodes: loaded from their CREATE on, refused where the log does not tell what was before."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.cli import main
from cdc_pipeline.load import read_truth
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.integration.recorded import Recorded, forward
from cdc_pipeline_tests.integration.stores import PostgresStore
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, rows
from cdc_pipeline_tests.recordings import Recording

Open = Callable[[str], Recording]
MakeDatabase = Callable[[], str]

LOADED = ("cc.a", "cc.altered", "cc.b", "cc.k", "cc.t")
"""Deletions of every kind with increments behind them, statics, batches, a truncation, an added column."""

REFUSED = ("cc.late", "cc.offon")
"""CDC was switched on later; off and on again."""

WHY = (
    "its counters began at numbers that the log at hand does not tell: expected the CREATE with cdc = true in it, and "
    "CDC on ever since (or source.complete_counters)"
)


@pytest.fixture
def recording(open_recording: Open) -> Recording:
    """A node on which counters were incremented and deleted in every way."""
    return open_recording("counters-5.0")


def workspace(folder: Path, recording: Recording, conninfo: str, **source: Any) -> Workspace:
    """The project of a recording."""
    schema = recording.path / "schema.json"
    return Workspace(folder, recording.main.path, schema, conninfo, masked=False, settings={"source": source})


def unequal(project: Project, recording: Recording, names: Sequence[str]) -> list[str]:
    """Those of these tables whose view is not what `SELECT` answered."""
    runner, as_of = project.lane(project.lanes()[0]), recording.meta["expected_at"]
    runner.prepare_tables()
    loaded = project.loaded(runner.sink)
    truths = {name: list(read_truth(recording.path / "expected" / f"{name}.raw.jsonl")) for name in names}
    sink = runner.sink
    return [
        name for name, rows in truths.items() if not sink.compare(loaded[name].table, loaded[name], rows, as_of).holds
    ]


def test_what_was_seen_from_its_create_on_is_loaded(
    recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path
) -> None:
    """Before a run `plan` says which tables are known and since when; after it they equal `SELECT`."""
    conninfo = make_pg_database()
    with workspace(tmp_path, recording, conninfo).project() as project:
        plan = {one.table: one for one in project.plan("warehouse")}
        assert {name for name, one in plan.items() if one.refusal is None} == set(LOADED)
        assert {plan[name].refusal for name in REFUSED} == {WHY}
        for name in LOADED:
            (note,) = plan[name].notes
            assert note.startswith("counters: shard node1: complete since CREATE at CommitLog-7-")
        assert not (tmp_path / "followed_schema").exists()
        drained(project)
        assert unequal(project, recording, LOADED) == []
        views = rows(conninfo, "SELECT schemaname || '.' || viewname FROM pg_views WHERE schemaname = 'cc' ORDER BY 1")
        assert [name for (name,) in views] == sorted([*LOADED, "cc.offon"])  # which was loaded until CDC was off
    with workspace(tmp_path, recording, conninfo).project() as project:
        assert {name: (one.refusal, one.notes) for name, one in plan.items()} == {
            one.table: (one.refusal, one.notes) for one in project.plan("warehouse")
        }


@pytest.mark.parametrize("profile", ["native", "exact"])
@pytest.mark.parametrize(
    ("name", "tables"), [("counters-5.0", LOADED), ("shop-directio-5.0", ("ecommerce.page_views",))]
)
def test_any_order_of_segments(
    open_recording: Open,
    make_pg_database: MakeDatabase,
    tmp_path: Path,
    name: str,
    tables: tuple[str, ...],
    profile: str,
) -> None:
    """Segments in reverse, then shuffled and each three times, give the node's answer."""
    recording, conninfo = open_recording(name), make_pg_database()
    place = workspace(tmp_path, recording, conninfo)
    place.types = {"profile": profile}
    with place.project() as project:
        runner = lane(project)
        segments = runner.source.segments()
        runner.backfill(reversed(segments))
        assert unequal(project, recording, tables) == []
        again = segments * 3
        random.Random(5).shuffle(again)
        runner.backfill(again)
        assert unequal(project, recording, tables) == []


def test_a_lane_that_goes_on(recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path) -> None:
    """Stopped behind every micro-batch and begun again by another process, the lane remembers what it saw."""
    conninfo = make_pg_database()
    for _ in range(60):
        with workspace(tmp_path, recording, conninfo).project() as project:
            runner = lane(project)
            runner.open("test")
            if not runner.drain(lambda: True):
                break
    else:
        pytest.fail("the log never ended")
    with workspace(tmp_path, recording, conninfo).project() as project:
        assert unequal(project, recording, LOADED) == []


def test_a_lane_that_goes_on_where_cdc_was_off(
    recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path
) -> None:
    """Stopped between CDC off and on again, the lane goes on to the node's answer, and `plan` refuses that table."""
    one = Recorded(recording, tmp_path, lambda: PostgresStore(make_pg_database()))
    there, store = one.workspace("stopped")
    with there.project() as project:
        runner = lane(project)
        runner.open("test")
        runner.drain(lambda: "cc.offon" in runner.result.changes and "cc.offon" not in names(runner))
        assert "cc.offon" in runner.result.changes
    with there.project() as project:
        assert "cc.offon" not in project.selected  # as the log says where it was read last
        one.assert_truth(project, forward(project), store)


def names(runner: LaneRunner) -> set[str]:
    """The tables that are loaded where the lane stands."""
    return {table.full_name for table, _ in runner.loaded}


def without_create(recording: Recording, project: Project, folder: Path) -> Path:
    """The segments of a recording, in which the CREATE of cc.b is damaged, as if the log began behind it."""
    (note,) = {one.table: one for one in project.plan("warehouse")}["cc.b"].notes
    segment, _, offset = note.rpartition(" ")[2].partition(":")
    shutil.copytree(recording.main.path, folder)
    with (folder / segment).open("r+b") as file:
        file.seek(int(offset) - 1)
        last = file.read(1)
        file.seek(int(offset) - 1)
        file.write(bytes([last[0] ^ 1]))
    return folder


def test_a_log_without_the_create(recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path) -> None:
    """Without its CREATE a counter table is refused, the others are loaded; the configuration's word loads it, too."""
    conninfo, schema = make_pg_database(), recording.path / "schema.json"
    with workspace(tmp_path / "whole", recording, conninfo).project() as project:
        raw = without_create(recording, project, tmp_path / "cdc_raw")
    with Workspace(tmp_path / "a", raw, schema, conninfo, masked=False).project() as project:
        assert {one.table: one.refusal for one in project.plan("warehouse")}["cc.b"] == WHY
        runner = drained(project)
        assert "cc.b" not in runner.result.changes
        assert unequal(project, recording, [name for name in LOADED if name != "cc.b"]) == []
    said, other = {"source": {"complete_counters": ["*.b"]}}, make_pg_database()
    with Workspace(tmp_path / "b", raw, schema, other, masked=False, settings=said).project() as project:
        plan = {one.table: one for one in project.plan("warehouse")}["cc.b"]
        assert (plan.refusal, plan.notes) == (None, ("counters: complete because source.complete_counters says so",))
        drained(project)
        assert unequal(project, recording, LOADED) == []


def test_a_shard_that_does_not_know(recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path) -> None:
    """Each lane decides by its own log; `plan` names the shard whose log does not tell."""
    conninfo = make_pg_database()
    with workspace(tmp_path / "whole", recording, conninfo).project() as project:
        raw = without_create(recording, project, tmp_path / "cdc_raw")
    shards = {"whole": {"directory": str(recording.main.path)}, "late": {"directory": str(raw)}}
    with workspace(tmp_path / "both", recording, conninfo, shards=shards).project() as project:
        plan = {one.table: one for one in project.plan("warehouse")}["cc.b"]
        assert plan.refusal is None
        assert plan.warnings == ("counters: not loaded from shard late: no CREATE in its log",)
        assert [note[:22] for note in plan.notes] == ["counters: shard whole:"]
        changes = {}
        for one in project.lanes():
            runner = project.lane(one)
            runner.open("test")
            runner.drain()
            changes[one.shard] = runner.result.changes["cc.b"]
        assert changes["whole"] > 5
        assert changes["late"] == 0
        assert unequal(project, recording, LOADED) == []


def test_a_lane_that_begins_later(open_recording: Open, make_pg_database: MakeDatabase, tmp_path: Path) -> None:
    """A destination that is added when the segment of the CREATE is gone does not load what the other goes on with."""
    recording, name = open_recording("shop-directio-5.0"), "ecommerce.page_views"
    raw = tmp_path / "cdc_raw"
    shutil.copytree(recording.main.path, raw)
    first, schema = recording.main.segments()[0].name, recording.path / "schema.json"
    conninfo = make_pg_database()
    with Workspace(tmp_path, raw, schema, conninfo, masked=False).project() as project:
        assert drained(project).result.changes[name] > 20
    (raw / first).unlink()
    with Workspace(tmp_path, raw, schema, conninfo, masked=False).project() as project:
        assert name in {table.full_name for table, _ in drained(project).loaded}
        assert unequal(project, recording, [name]) == []
    for _ in range(2):
        with Workspace(tmp_path, raw, schema, later := make_pg_database(), masked=False).project() as project:
            for _ in range(2):
                runner = drained(project)
                assert name not in {table.full_name for table, _ in runner.loaded}
            (problem,) = [one for one in runner.result.problems if "counters" in one]
            assert problem.startswith(f"table {name}: not loaded, its counters began in a segment that this lane has")
            assert rows(later, "SELECT to_regclass('ecommerce.page_views')") == [(None,)]


def test_check_and_plan_say_why(
    recording: Recording, make_pg_database: MakeDatabase, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both commands name a refused table with the reason."""
    config = str(workspace(tmp_path, recording, make_pg_database()).write())
    assert main(["--config", config, "check"]) == 0
    checked = " ".join(capfd.readouterr().out.split())
    assert main(["--config", config, "plan"]) == 0
    planned = " ".join(capfd.readouterr().out.split())
    for said in (checked, planned):
        assert "cc.late" in said
        assert "CDC on ever since" in said
    assert "complete since CREATE at CommitLog-7-" in planned
