"""`run`, `backfill`, `status`, `sql`: the main job from the command line, on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.cli import main
from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.recordings import Recording


def test_run_once_gives_the_truth(loaded: Shell, open_recording: Callable[[str], Recording]) -> None:
    """After `run --once` the views answer as the recorded node did; the summary's counts come out even."""
    answer = loaded("run", "--once", "--json")
    assert answer.code == 0, answer.err
    (lane,) = answer.records
    assert lane["lane"] == "warehouse/node1"
    assert lane["changes"] == lane["applied"] == lane["events_processed"] > 2000
    assert lane["parked"] == {}
    assert lane["backlog_bytes"] == 0
    recording = open_recording("tombstones-5.0")
    for table, rows in recording.expected().items():
        seen = loaded("sql", "warehouse", f"SELECT * FROM {table}", "--as-of", recording.meta["expected_at"], "--json")
        assert seen.code == 0, seen.err
        assert len(seen.records) == len(rows)
        wanted = sorted((row["v"] is None, bytes.fromhex((row["v"] or "0x")[2:]).decode()) for row in rows)
        assert sorted((row["v"] is None, row["v"] or "") for row in seen.records) == wanted


def test_a_second_run_does_nothing(loaded: Shell) -> None:
    """What is loaded is not loaded again."""
    first = loaded("run", "--once", "--json").records[0]
    again = loaded("run", "--once", "--json")
    assert again.code == 0
    assert again.records[0]["changes"] == 0
    assert again.records[0]["events_processed"] == first["events_processed"]
    assert again.records[0]["position"] == first["position"]


def test_backfill_changes_nothing_and_leaves_the_offset(loaded: Shell) -> None:
    """Loading everything again is harmless."""
    loaded("run", "--once")
    query = ("sql", "warehouse", "SELECT * FROM tombs.up ORDER BY 1, 2, 3, 4", "--json")
    before, status = loaded(*query).out, loaded("status", "--json").records
    answer = loaded("backfill", "--all", "--json")
    assert answer.code == 0
    assert answer.records[0]["changes"] > 2000
    assert loaded(*query).out == before
    assert loaded("status", "--json").records[0]["offset"] == status[0]["offset"]


def test_backfill_of_one_table_into_an_empty_destination(loaded: Shell) -> None:
    """`--table` loads the changes of that table only; the offset stays at the start."""
    answer = loaded("backfill", loaded.segments[0].name, "--table", "tombs.one", "--json")
    assert answer.code == 0
    assert set(answer.records[0]["tables"]) == {"tombs.one"}
    assert loaded("sql", "warehouse", "SELECT count(*) AS n FROM tombs.one", "--json").records == [{"n": 1}]
    assert loaded("sql", "warehouse", "SELECT count(*) AS n FROM tombs.up", "--json").records == [{"n": 0}]
    assert loaded("status", "--json").records[0]["offset"] is None


def test_people_get_tables(loaded: Shell) -> None:
    """Without `--json` a table says what was done."""
    answer = loaded("run", "--once")
    assert answer.code == 0
    assert "mutations read" in answer.out
    assert "lane warehouse/node1" in answer.out
    shown = loaded("sql", "warehouse", "SELECT pk, v FROM tombs.single ORDER BY pk")
    assert "3 rows" in shown.out
    assert "Ω" in shown.out


def test_options_before_the_command(loaded: Shell) -> None:
    """`--config` and `--json` may stand before the command."""
    answer = loaded("--config", str(loaded.folder / "cdc.yaml"), "--json", "status")
    assert answer.code == 0
    assert answer.records[0]["lane"] == "warehouse/node1"


def test_status_before_anything_ran(loaded: Shell) -> None:
    """An empty destination has no offset and the whole log as backlog."""
    answer = loaded("status", "--json")
    assert answer.code == 0
    (lane,) = answer.records
    assert lane["offset"] is None
    assert lane["backlog_bytes"] > 400_000
    assert lane["head"].startswith("CommitLog-7-")


def test_a_segment_below_the_offset_is_reported(loaded: Shell) -> None:
    """A segment that turns up later, below the offset, is named by status and check, until a backfill reads it."""
    loaded("run", "--once")
    segment = loaded.segments[0]
    old = segment.with_name("CommitLog-7-1000.log")
    raw = bytearray(segment.read_bytes())
    old.write_bytes(raw)
    old.with_name("CommitLog-7-1000_cdc.idx").write_text(f"{len(raw)}\nCOMPLETED")
    status = loaded("status")
    assert status.code == 1
    assert "CommitLog-7-1000.log" in status.err
    assert "backfill" in status.err


def test_sql_errors_are_one_sentence(loaded: Shell) -> None:
    """A query that fails ends with 1, an instant that is none with 2; writing is refused."""
    loaded("run", "--once")
    missing = loaded("sql", "warehouse", "SELECT * FROM nowhere")
    assert missing.code == 1
    assert "nowhere" in missing.err
    assert loaded("sql", "warehouse", "SELECT 1", "--as-of", "yesterday-ish").code == 2
    written = loaded("sql", "warehouse", "DELETE FROM cdc.cdc_offsets")
    assert written.code == 1
    assert "read-only" in written.err
    assert loaded("sql", "elsewhere", "SELECT 1").code == 2


def test_sql_values_are_the_servers(loaded: Shell) -> None:
    """Values are printed as the server writes them: NaN, infinite dates and years beyond Python's."""
    query = "SELECT 'NaN'::float8 AS f, 'infinity'::timestamptz AS t, '200000-01-01'::date AS d, 1.10::numeric AS n"
    answer = loaded("sql", "warehouse", query, "--json")
    assert answer.out.strip() == '{"f":"NaN","t":"infinity","d":"200000-01-01","n":1.10}'
    people = loaded("sql", "warehouse", query)
    assert "200000-01-01" in people.out


def test_a_server_that_is_down(shell: Shell) -> None:
    """After its tries the lane stops with one sentence that names host and port, exit code 1; nothing is parked."""
    answer = shell("run", "--once", "--json")
    assert answer.code == 1
    assert "127.0.0.1:1" in answer.err
    assert answer.records[0]["changes"] == 0
    status = shell("status", "--json")
    assert status.code == 1
    assert "127.0.0.1:1" in status.records[0]["problems"][0]


def test_one_destination_that_is_down_hides_no_other(loaded: Shell, pg_database: str) -> None:
    """Lanes of another destination load, and `status` shows them."""
    there = {"kind": "postgres", "dsn": pg_database}
    away = {"kind": "postgres", "host": "127.0.0.1", "port": 1, "dbname": "none"}
    loaded.configure(destinations={"away": away, "warehouse": there})
    assert loaded("run", "--once").code == 1
    records = {one["lane"]: one for one in loaded("status", "--json").records}
    assert records["warehouse/node1"]["backlog_bytes"] == 0
    assert "cannot be reached" in records["away/node1"]["problems"][0]


def test_a_tailing_run_waits_for_its_destination(shell: Shell) -> None:
    """It does not end after its tries, says that it waits, and Ctrl-C ends a wait of half a minute at once."""
    shell.configure(retry={"attempts": 1, "wait": 30, "max_wait": 30}, metrics={"port": 0})
    command = [Path(sys.executable).with_name("cdc-pipeline"), "run", "--json"]
    with subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        assert "destination unavailable, waiting" in said
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == 0, err
    assert json.loads(out)["changes"] == 0


def test_a_wrong_password_is_not_tried_again(loaded: Shell, pg_database: str) -> None:
    """A wrong password stops the lane at once, says so, and is not printed."""
    parts = dict(part.split("=", 1) for part in pg_database.split())
    place = {"kind": "postgres", "host": parts["host"], "port": int(parts["port"]), "dbname": parts["dbname"]}
    loaded.configure(destinations={"warehouse": place | {"user": "postgres", "password": "wrong-one"}})
    answer = loaded("run", "--once")
    assert answer.code == 1
    assert "password is wrong" in answer.err
    assert "wrong-one" not in answer.err + answer.out
    assert "waiting" not in answer.err


def test_ctrl_c_ends_between_two_batches(loaded: Shell, pg_database: str) -> None:
    """A tailing run that gets SIGINT prints its summary and exits with 0; what it loaded is committed."""
    command = [Path(sys.executable).with_name("cdc-pipeline"), "run", "--json"]
    with subprocess.Popen(command, cwd=loaded.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while loaded("status", "--json").records[0]["backlog_bytes"] and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["events_processed"] > 2000


def test_a_tailing_run_follows_the_log(loaded: Shell, open_recording: Callable[[str], Recording]) -> None:
    """A segment that appears while the run goes on is loaded without a restart; metrics answer meanwhile."""
    away = loaded.folder / "away"
    (loaded.folder / "cdc_raw").rename(away)
    (loaded.folder / "cdc_raw").mkdir()
    loaded.configure(metrics={"port": 0})
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(_tail(loaded)))
    thread.start()
    for file in sorted(away.iterdir(), key=lambda path: path.suffix, reverse=True):
        os.link(file, loaded.folder / "cdc_raw" / file.name)
    thread.join(60)
    assert codes == [0]


def _tail(loaded: Shell) -> int:
    """`run` in a process of its own until its backlog is gone, then SIGTERM."""
    command = [Path(sys.executable).with_name("cdc-pipeline"), "run", "--json"]
    with subprocess.Popen(command, cwd=loaded.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 50
        while time.monotonic() < deadline:
            status = subprocess.run(
                [command[0], "status", "--json"], cwd=loaded.folder, capture_output=True, timeout=30, check=False
            )
            if status.stdout and json.loads(status.stdout)["events_processed"] > 2000:
                break
            time.sleep(0.1)
        process.terminate()
        process.communicate(timeout=30)
        return process.returncode


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--once", "--destination", "elsewhere"], "elsewhere"),
        (["run", "--once", "--shard", "node9"], "node9"),
        (["backfill"], "--all"),
        (["backfill", "CommitLog-7-5.log"], "CommitLog-7-5.log"),
        (["backfill", "--all", "--table", "no.table"], "no.table"),
        (["--config", "nowhere.yaml", "run", "--once"], "nowhere.yaml"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage(arguments: list[str], named: str, loaded: Shell) -> None:
    """What is not there is named; exit code 2."""
    answer = loaded(*arguments)
    assert answer.code == 2
    assert named in answer.err


def test_an_unknown_key_of_the_configuration(loaded: Shell) -> None:
    """The file, the key and a suggestion."""
    loaded.configure(retri={"attempts": 3})
    answer = loaded("run", "--once", "--json")
    assert answer.code == 2
    message = json.loads(answer.err)["error"]
    assert "cdc.yaml" in message
    assert "retri" in message
    assert "retry" in message


def test_help_has_an_example_for_every_command(loaded: Shell) -> None:
    """`--help` of each command shows how it is called."""
    for command in ("decode", "plan", "run", "backfill", "status", "sql", "check", "health", "demo"):
        answer = loaded(command, "--help")
        assert answer.code == 0
        assert "Example" in answer.out
    assert main(["keys", "generate", "--help"]) == 0


def test_a_selection_that_names_nothing_keeps_the_offset(loaded: Shell) -> None:
    """A mistyped table pattern stops with exit 2; the log is not passed over."""
    source = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}}
    loaded.configure(source=source | {"tables": ["nothing.*"]})
    answer = loaded("run", "--once")
    assert answer.code == 2
    assert "source.tables" in answer.err
    loaded.configure(source=source)
    assert loaded("run", "--once", "--json").records[0]["changes"] > 2000


def test_sql_rows_with_a_column_of_any_name(loaded: Shell) -> None:
    """A column may be named as the row that is printed."""
    query = "SELECT 1 AS q, 2 AS cdc_row, row(1, 2) AS x"
    assert loaded("sql", "warehouse", query, "--json").records == [{"q": 1, "cdc_row": 2, "x": {"f1": 1, "f2": 2}}]


def test_a_finished_segment_leaves_no_backlog(loaded: Shell) -> None:
    """After a COMPLETED segment is read its unused tail is no backlog."""
    index = next((loaded.folder / "cdc_raw").glob("*_cdc.idx"))
    index.write_text(index.read_text().strip() + "\nCOMPLETED")
    assert loaded("run", "--once", "--json").records[0]["backlog_bytes"] == 0


def test_a_rule_that_matches_nothing_is_told(loaded: Shell) -> None:
    """A mistyped column of a masking rule is named by run and check."""
    Path("rules.yaml").write_text("rules: [{match: 'tombs.one.nope', strategy: PII_HASH}]\n")
    loaded.configure(masking={"rules": "rules.yaml"})
    assert "tombs.one.nope" in loaded("run", "--once").err
    assert "tombs.one.nope" in loaded("check").out


def test_a_schema_without_a_key_column(loaded: Shell) -> None:
    """A schema that lacks a part of a primary key is one sentence with file and table, exit 2."""
    path = loaded.folder / "schema.json"
    rows = json.loads(path.read_text())
    rows["columns"] = [c for c in rows["columns"] if (c["table_name"], c["column_name"]) != ("one", "pk")]
    path.write_text(json.dumps(rows))
    answer = loaded("run", "--once")
    assert answer.code == 2
    assert "tombs.one" in answer.err
    assert "partition_key" in answer.err


def test_no_configuration_at_all(loaded: Shell) -> None:
    """Without a file the sentence says where one is looked for."""
    (loaded.folder / "cdc.yaml").unlink()
    answer = loaded("run", "--once")
    assert answer.code == 2
    assert "--config FILE" in answer.err
