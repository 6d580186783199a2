"""`plan`, `check`, `health`, `keys`: what is said before anything is written."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import psycopg
import pytest

from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.embedded.processes import eventually, processes_of


def test_plan_writes_nothing_and_needs_no_server(shell: Shell) -> None:
    """The plan of every selected table: types, keys, DDL; the server that is down does not matter."""
    answer = shell("plan", "--json")
    assert answer.code == 0
    tables = {record["table"]: record for record in answer.records}
    assert set(tables) == {"tombs.up", "tombs.down", "tombs.mixed", "tombs.one", "tombs.single"}
    columns = {column["name"]: column for column in tables["tombs.up"]["columns"]}
    assert [c["name"] for c in tables["tombs.up"]["columns"]][:4] == ["pk", "a", "b", "c"]
    assert columns["m"]["target_type"] == "jsonb"
    assert columns["s"]["target_type"] == "integer[]"
    assert columns["u"]["target_type"] == "jsonb"
    assert any(ddl.startswith("CREATE OR REPLACE VIEW") for ddl in tables["tombs.up"]["ddl"])


def test_plan_for_people(shell: Shell) -> None:
    """A table per table, the DDL when asked for."""
    answer = shell("plan", "--ddl")
    assert "tombs.single → warehouse" in answer.out
    assert "CREATE TABLE IF NOT EXISTS" in answer.out


def test_plan_shows_masks_and_what_is_excluded(shell: Shell) -> None:
    """A rule of the file is in the plan; `deny` leaves out what nobody named; a rule that matches nothing is told."""
    Path("rules.yaml").write_text(
        "rules:\n"
        "  - {match: 'tombs.*.pk', strategy: PII_HASH}\n"
        "  - {match: 'tombs.*.[abc]', strategy: NONE}\n"
        "  - {match: 'tombs.*.ck', strategy: PHI_TOKENIZE}\n"
        "  - {match: 'tombs.*.v', strategy: NONE}\n"
        "  - {match: 'tombs.*.nowhere', strategy: NONE}\n"
    )
    shell.configure(masking={"rules": "rules.yaml", "unclassified": "deny"})
    answer = shell("plan", "--json")
    one = next(record for record in answer.records if record["table"] == "tombs.one")
    assert {c["name"]: (c["target_type"], c["mask"]) for c in one["columns"]} == {
        "pk": ("text", "PII_HASH"),
        "ck": ("text", "PHI_TOKENIZE"),
        "v": ("text", "-"),
        "st": ("not loaded", "-"),
    }
    assert any("ck is masked" in warning for warning in one["warnings"])
    assert "tombs.*.nowhere" in answer.err


def test_an_override_of_an_unknown_column(shell: Shell) -> None:
    """A mistyped column of an override stops with its name."""
    place = {"kind": "postgres", "host": "127.0.0.1", "types": {"columns": {"tombs.up.nope": "text"}}}
    shell.configure(destinations={"warehouse": place})
    answer = shell("plan")
    assert answer.code == 2
    assert "tombs.up.nope" in answer.err


def test_an_override_that_a_column_cannot_take(shell: Shell) -> None:
    """A type that the column has no way into is refused with what would be possible."""
    place = {"kind": "postgres", "host": "127.0.0.1", "types": {"columns": {"tombs.up.n": "point"}}}
    shell.configure(destinations={"warehouse": place})
    answer = shell("plan")
    assert answer.code == 2
    assert "point" in answer.err
    assert "bytea" in answer.err


def test_check_finds_all_well(loaded: Shell) -> None:
    """Everything that would be needed is there."""
    answer = loaded("check", "--json")
    assert answer.code == 0, answer.out
    states = {record["what"]: record["state"] for record in answer.records}
    assert states["configuration"] == states["schema"] == states["shard node1"] == "ok"
    assert states["destination warehouse"] == "ok"
    assert states["build"] == "ok"


def test_check_finds_what_would_fail(shell: Shell) -> None:
    """A server that is down, a damaged segment: each is one finding, and the exit code is 1."""
    Path("cdc_raw/CommitLog-7-3.log").write_bytes(bytes(50))
    answer = shell("check", "--json")
    assert answer.code == 1
    failed = {record["what"]: record["message"] for record in answer.records if record["state"] == "failed"}
    assert "127.0.0.1:1" in failed["destination warehouse"]
    assert "offset" in failed["segment CommitLog-7-3.log"]


def test_check_without_a_table(loaded: Shell) -> None:
    """A selection that names nothing is said."""
    loaded.configure(
        source={
            "shards": {"node1": {"directory": "cdc_raw"}},
            "schema": {"file": "schema.json"},
            "tables": ["nothing.*"],
        }
    )
    answer = loaded("check", "--json")
    assert answer.code == 1
    assert any("cdc = true" in record["message"] for record in answer.records)


def test_a_missing_directory(loaded: Shell) -> None:
    """A shard whose directory is not there: run ends with 2 and its name."""
    loaded.configure(
        source={"shards": {"node1": {"directory": "gone"}}, "schema": {"file": "schema.json"}},
    )
    answer = loaded("run", "--once")
    assert answer.code == 2
    assert "gone" in answer.err
    assert loaded("check").code == 1


def test_health_asks_each_system_alone(loaded: Shell) -> None:
    """A directory and a server that are up; only the one asked for."""
    answer = loaded("health", "--json")
    assert answer.code == 0
    assert {(one["name"], one["kind"], one["up"]) for one in answer.records} == {
        ("node1", "directory", True),
        ("warehouse", "postgres", True),
    }
    assert [one["name"] for one in loaded("health", "warehouse", "--json").records] == ["warehouse"]
    assert loaded("health", "elsewhere").code == 2


def test_health_of_a_server_that_is_down(shell: Shell) -> None:
    """One sentence with host and port, exit code 1; the others are asked all the same."""
    answer = shell("health", "--timeout", "2", "--json")
    assert answer.code == 1
    down = next(one for one in answer.records if not one["up"])
    assert down["name"] == "warehouse"
    assert "127.0.0.1" in down["message"]
    assert len(answer.records) == 2


def test_health_of_an_embedded_clickhouse(shell: Shell) -> None:
    """It is started when nobody uses it, asked, and left, with which it ends."""
    shell.configure(destinations={"lake": {"kind": "clickhouse", "embedded": True, "directory": "lake"}})
    answer = shell("health", "lake", "--json")
    assert answer.code == 0
    (one,) = answer.records
    assert (one["kind"], one["up"]) == ("clickhouse", True)
    assert one["version"]
    assert eventually(lambda: not processes_of(Path("lake").resolve()))


def test_health_from_the_environment_alone(shell: Shell, pg_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any configuration the systems that the environment names are asked, each without the others."""
    Path("cdc.yaml").unlink()
    monkeypatch.setenv("CDC_POSTGRES_DSN", pg_database)
    answer = shell("health", "--json")
    assert answer.code == 0
    assert [(one["kind"], one["up"]) for one in answer.records] == [("postgres", True)]


def test_keys_are_made_once(shell: Shell) -> None:
    """A new ring has mode 0600, is listed without its secret, and is never overwritten."""
    made = shell("keys", "generate", "keys.json", "--json")
    assert made.code == 0
    assert stat.S_IMODE(Path("keys.json").stat().st_mode) == 0o600
    secret = json.loads(Path("keys.json").read_text())["keys"][0]["secret"]
    listed = shell("keys", "list", "keys.json")
    assert made.records[0]["fingerprint"] in listed.out
    assert secret not in listed.out + made.out
    again = shell("keys", "generate", "keys.json")
    assert again.code == 2
    assert "keys.json" in again.err


def test_nothing_that_masks_starts_without_a_key(loaded: Shell) -> None:
    """A masked column without a key ring stops before anything is written."""
    Path("rules.yaml").write_text("rules: [{match: 'tombs.up.v', strategy: PII_HASH}]\n")
    loaded.configure(masking={"rules": "rules.yaml"})
    answer = loaded("run", "--once")
    assert answer.code == 2
    assert "key ring" in answer.err
    assert loaded("keys", "list").code == 2


def test_another_key_is_refused(loaded: Shell, pg_database: str) -> None:
    """A silent change of the masking key would break every join: the second key is refused, the first goes on."""
    Path("rules.yaml").write_text("rules: [{match: 'tombs.single.v', strategy: PII_HASH}]\n")
    shell = loaded
    shell("keys", "generate", "first.json")
    shell("keys", "generate", "second.json")
    shell.configure(masking={"rules": "rules.yaml", "keys": {"file": "first.json"}})
    assert shell("run", "--once").code == 0
    with psycopg.connect(pg_database) as connection:
        values = [row[0] for row in connection.execute("SELECT v FROM tombs.single WHERE v IS NOT NULL").fetchall()]
    assert values
    assert all(value.startswith("h1.k1.") for value in values)
    shell.configure(masking={"rules": "rules.yaml", "keys": {"file": "second.json"}})
    answer = shell("run", "--once")
    assert answer.code == 2
    assert "fingerprint" in answer.err


def test_schema_export_needs_a_cluster(shell: Shell) -> None:
    """With a schema file there is no cluster to ask."""
    answer = shell("schema", "export", "out.json")
    assert answer.code == 2
    assert "contact_points" in answer.err


def test_bench_decode_reports_every_figure(shell: Shell) -> None:
    """One object with the figures that `make bench` prints; nothing is asserted about time."""
    answer = shell("bench", "decode", "cdc_raw", "--passes", "1", "--json")
    assert answer.code == 0
    (figures,) = answer.records
    assert figures["mutations"] == 3515
    assert figures["compiled"] is True
    assert all(figures[name] > 0 for name in ("seconds", "mutations_per_s", "cells_per_s", "mb_per_s", "peak_rss_mb"))


@pytest.mark.parametrize(
    ("what", "changes"), [(["postgres", "cdc_raw"], 2960), (["clickhouse"], 20_663)], ids=["postgres", "the demo's"]
)
def test_bench_load_sets_the_limit_beside_the_rate(shell: Shell, what: list[str], changes: int) -> None:
    """Loading is measured against the server's own way in for the same rows in the same run."""
    answer = shell("bench", "load", *what, "--passes", "1", "--json")
    assert answer.code == 0
    (figures,) = answer.records
    assert figures["changes"] == changes
    assert figures["ratio"] == pytest.approx(figures["changes_per_s"] / figures["limit_per_s"])
    assert shell("bench", "load", "nowhere", "cdc_raw").code == 2
