"""Recordings of real nodes into a real PostgreSQL: the truth, whatever was loaded again and in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.integration.truth import Explained, tables_with_truth, unexplained
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, offset, rows
from cdc_pipeline_tests.load.destination import state_of
from cdc_pipeline_tests.recordings import Recording

Open = Callable[[str], Recording]
MakeDatabase = Callable[[], str]

SHOP = "shop-lz4-4.1"
NAMES = (SHOP, "tombstones-5.0", "random-5.0-s1", "random-5.0v8-s4", "crash-5.0", "types-5.0-v8")
CASES = [(name, False, profile) for name in NAMES for profile in ("exact", "native")]
CASES += [(SHOP, True, "exact"), (SHOP, True, "native"), ("types-5.0-v8", True, "native")]


def workspace(folder: Path, recording: Recording, conninfo: str, profile: str, masked: bool) -> Workspace:
    """The project of a recording."""
    return Workspace(
        folder, recording.main.path, recording.path / "schema.json", conninfo, masked, {"profile": profile}
    )


@pytest.mark.parametrize(
    ("name", "masked", "profile"), CASES, ids=[f"{n}-{p}-{'masked' if m else 'clear'}" for n, m, p in CASES]
)
def test_truth_then_again_then_in_reverse(
    open_recording: Open, make_pg_database: MakeDatabase, tmp_path: Path, name: str, masked: bool, profile: str
) -> None:
    """Draining gives the truth; a backfill changes nothing; one in reverse order gives the same state elsewhere."""
    recording = open_recording(name)
    conninfo = make_pg_database()
    with workspace(tmp_path, recording, conninfo, profile, masked).project() as project:
        runner = drained(project)
        assert_truth(project, runner, recording, conninfo, profile)
        before, at, letters = (
            state_of(conninfo),
            offset(runner),
            rows(conninfo, "SELECT count(*) FROM cdc.dead_letters"),
        )
        assert at.events_processed == runner.result.changes.total() > 0
        again = lane(project)
        again.backfill(again.source.segments())
        assert again.result.changes == runner.result.changes
        assert state_of(conninfo) == before
        assert offset(runner) == at
        assert rows(conninfo, "SELECT count(*) FROM cdc.dead_letters") == letters
    elsewhere = make_pg_database()
    with workspace(tmp_path, recording, elsewhere, profile, masked).project() as project:
        reverse = lane(project)
        reverse.backfill(reversed(reverse.source.segments()))
        assert state_of(elsewhere) == before


def assert_truth(project: Project, runner: LaneRunner, recording: Recording, conninfo: str, profile: str) -> None:
    """In `exact` all rows are equal; in `native` all but those whose keys are named by dead letters."""
    as_of = recording.meta["expected_at"]
    why = Explained.by_letters(runner)
    compared = 0
    for masks, truth in tables_with_truth(project, runner, recording):
        compared += len(truth)
        if profile == "exact":
            found = runner.sink.compare(masks.table, masks, truth, as_of)
            assert (masks.table.full_name, found.missing, found.extra) == (masks.table.full_name, (), ())
        else:
            missing, extra = unexplained(runner.sink, conninfo, masks, truth, as_of, why)
            assert (masks.table.full_name, missing, extra) == (masks.table.full_name, [], [])
    assert compared > 0
    if profile == "exact":
        assert not runner.result.parked
