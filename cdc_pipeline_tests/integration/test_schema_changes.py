"""DDL and TRUNCATE, followed in the log of a real node: from the first snapshot alone to the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.load.postgres.parity import read_truth
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline_tests.integration.truth import parity
from cdc_pipeline_tests.integration.workspace import Workspace, drained
from cdc_pipeline_tests.recordings import Recording

Open = Callable[[str], Recording]
MakeDatabase = Callable[[], str]

NAME = "schema-changes-5.0"
NOT_IN_THE_LOG = "fleeting.t"
"""Its keyspace has no durable writes."""

TABLES = {"evolve.emptied", "evolve.later", "evolve.main", "evolve.promoted", "evolve.toggled", "passing.t"}


def workspace(folder: Path, recording: Recording, conninfo: str, schema: str, rows: int = 20_000) -> Workspace:
    """The project of the recording with one of its snapshots."""
    path = recording.path / schema
    return Workspace(
        folder, recording.main.path, path, conninfo, False, {"profile": "exact"}, {"batch": {"rows": rows}}
    )


def truth_files(recording: Recording) -> list[Path]:
    """The truth of each table."""
    return sorted((recording.path / "expected").glob("*.raw.jsonl"))


def assert_truth(runner: LaneRunner, recording: Recording, conninfo: str) -> None:
    """Every table that the log holds is what `SELECT` gave."""
    truth = {path.name.removesuffix(".raw.jsonl"): list(read_truth(path)) for path in truth_files(recording)}
    tables = {table.full_name: masks for table, masks in runner.loaded}
    assert tables.keys() == TABLES == truth.keys() - {NOT_IN_THE_LOG}
    for name, masks in tables.items():
        found = parity(runner, conninfo, masks, truth[name], recording.meta["expected_at"])
        assert (name, found.missing, found.extra, found.equal) == (name, (), (), len(truth[name]))
    assert not runner.result.parked
    assert runner.result.problems == []


@pytest.mark.parametrize("schema", ["schema_history/000.json", "schema_history/016.json", "schema.json"])
@pytest.mark.parametrize("rows", [20_000, 7, 1])
def test_one_snapshot_reaches_the_truth(
    open_recording: Open, make_pg_database: MakeDatabase, tmp_path: Path, schema: str, rows: int
) -> None:
    """From the snapshot before all DDL, from one in the middle, or from the last one, and however batches are cut."""
    recording, conninfo = open_recording(NAME), make_pg_database()
    with workspace(tmp_path, recording, conninfo, schema, rows).project() as project:
        assert_truth(drained(project), recording, conninfo)
