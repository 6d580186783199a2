"""What DDL and TRUNCATE in the log did, from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from cdc_pipeline.schema import SYSTEM_KEYSPACES
from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.recordings import Recording

FIRST = "first.json"


@pytest.fixture
def recording(open_recording: Callable[[str], Recording]) -> Recording:
    """The node whose schema changed."""
    return open_recording("schema-changes-5.0")


@pytest.fixture
def changed(loaded: Shell, recording: Recording) -> Shell:
    """A shell over that node's log, with the snapshot from before the first table."""
    shutil.rmtree("cdc_raw")
    shutil.copytree(recording.path / "cdc_raw", "cdc_raw")
    shutil.copy(recording.path / "schema_history" / "000.json", FIRST)
    shutil.copy(recording.path / "schema.json", "schema.json")
    loaded.configure(
        source={"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": FIRST}},
        masking={"rules": "masking.yaml"},
    )
    (loaded.folder / "masking.yaml").write_text("pii_fields: []\nphi_fields: []\n")
    return loaded


def test_a_run_from_before_the_first_table(changed: Shell) -> None:
    """Tables are made where the log made them; before the run `check` expects them, after it `plan` knows them."""
    before = {record["what"]: record for record in changed("check", "--json").records}
    assert before["schema"] == {
        "what": "schema",
        "state": "ok",
        "message": "no table yet; those that are made in the log are loaded",
    }
    assert changed("run", "--once").code == 0
    assert changed("sql", "warehouse", "SELECT count(*) FROM evolve.emptied", "--json").records == [{"count": 4}]
    assert len(changed("plan", "--json").records) == 7
    assert changed("run", "--once", "--json").records[0]["changes"] == 0


def test_the_history_is_listed(changed: Shell) -> None:
    """Every change with its place, table and column; and what the schema's file does not know, in one sentence."""
    assert changed("schema", "history", "--json").records == []
    changed("run", "--once")
    answer = changed("schema", "history", "--json")
    renamed = [record for record in answer.records if record["change"] == "column renamed"]
    assert [(record["table"], record["column"], record["detail"]) for record in renamed] == [
        ("evolve.main", "position", "ck → position"),
        ("evolve.main", "key", "id → key"),
    ]
    (truncated,) = [record for record in answer.records if record["truncated_micros"] is not None]
    assert truncated["table"] == "evolve.emptied"
    assert truncated["position"].endswith(":22547")
    assert answer.err.count("\n") == 1
    assert "evolve.main is only in the log" in answer.err
    assert "evolve.main" in changed("schema", "history").out


def test_a_file_that_agrees(changed: Shell) -> None:
    """The last snapshot says what the log says: nothing is told."""
    changed("run", "--once")
    source = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}}
    changed.configure(source=source)
    assert changed("schema", "history").err == ""
    assert changed("plan").err == ""
    assert [r for r in changed("check", "--json").records if r["what"] == "schema"][1:] == []


def test_changes_of_segments(changed: Shell) -> None:
    """`decode --schema-changes` prints them without a destination, and nothing else."""
    answer = changed("decode", "cdc_raw", "--schema", FIRST, "--schema-changes")
    assert answer.code == 0
    assert {record["change"] for record in answer.records} == {
        "created",
        "removed",
        "column added",
        "column dropped",
        "column renamed",
        "altered",
        "truncated",
    }
    assert all(set(record) >= {"segment", "position", "table"} for record in answer.records)


def test_rows_with_the_schema_of_their_place(changed: Shell, recording: Recording) -> None:
    """`decode --with-ddl` reads every row from the first snapshot alone, under the names of its time."""
    answer = changed("decode", "cdc_raw", "--schema", FIRST, "--with-ddl")
    assert answer.code == 0
    assert len(answer.records) == len(recording.history_lines())
    first = next(record for record in answer.records if record["table"] == "main")
    assert [part["name"] for part in first["key"]] == ["id"]
    plain = changed("decode", "cdc_raw", "--schema", "schema.json")
    assert plain.out.encode().split(b"\n")[:-1] == recording.main.oracle_lines()


def test_a_snapshot_that_cannot_be_followed(changed: Shell) -> None:
    """Without the rows of Cassandra's own keyspaces following is refused, with the file's name."""
    kept = json.loads((changed.folder / "schema.json").read_text())
    for name in ("tables", "columns"):
        kept[name] = [row for row in kept[name] if row["keyspace_name"] not in SYSTEM_KEYSPACES]
    (changed.folder / "schema.json").write_text(json.dumps(kept))
    answer = changed("decode", "cdc_raw", "--schema", "schema.json", "--with-ddl")
    assert answer.code == 2
    assert "schema.json: expected the tables of system_schema" in answer.err
