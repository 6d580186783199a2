"""The demo: from nothing to a table that says 100 %."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from cdc_pipeline.cli import main
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.project import Project


def test_the_demo_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Every CDC table, counters included, equals the recorded node's answer on both destinations; the second time too,
    with the same key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("CDC_CONFIG", "")
    assert main(["demo", "--directory", "demo", "--json"]) == 0
    lanes = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(lane["destination"], lane["kind"]) for lane in lanes] == [
        ("warehouse", "postgres"), ("lake", "clickhouse"),
    ]  # fmt: skip
    names = "inventory order_events orders page_views patients payments products sessions users"
    for lane in lanes:
        assert {one["table"] for one in lane["parity"]} == {f"ecommerce.{name}" for name in names.split()}
        assert all(one["expected"] == one["equal"] > 5 and one["extra"] == 0 for one in lane["parity"])
        assert sum(one["equal"] for one in lane["parity"]) > 1000
        assert lane["changes"] == lane["applied"] == sum(lane["tables"].values())
        assert lane["refused"] == {}
        assert {"users.email", "patients.diagnosis"} <= set(lane["masked_columns"])
    keys = Path("demo/keys.json").read_text()
    assert main(["demo", "--directory", "demo"]) == 0
    shown = capfd.readouterr().out
    assert "100 %" in shown
    assert "DIFFERS" not in shown
    assert "h1.k1." in shown
    assert "try next" in shown
    assert Path("demo/keys.json").read_text() == keys


def test_no_name_of_a_masked_column_is_in_the_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """People's e-mail addresses stand in the log and in no table that the demo filled, on neither destination."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("CDC_CONFIG", "")
    assert main(["demo", "--directory", "demo", "--json"]) == 0
    capfd.readouterr()
    raw = b"".join(path.read_bytes() for path in Path("demo/cdc_raw").glob("*.log"))
    assert b"@example.com" in raw
    query = (
        "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables "
        "WHERE table_schema IN ('cdc', 'ecommerce')"
    )
    with Project.load(Path("demo/cdc.yaml")) as project, psycopg.connect(project.conninfo("warehouse")) as connection:
        tables = [row[0] for row in connection.execute(query).fetchall()]
        assert len(tables) > 20
        for table in tables:
            found = connection.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%@example.com%'").fetchone()
            assert found == (0,), table
    with Project.load(Path("demo/cdc.yaml")) as project, closing(Connection(project.address("lake"))) as lake:
        query = "SELECT database, name FROM system.tables WHERE database IN ('cdc', 'ecommerce')"
        listed = [f"{quoted(database)}.{quoted(name)}" for database, name in lake.rows(query)]
        assert len(listed) > 20
        for table in listed:
            assert lake.rows(f"SELECT countIf(toString(tuple(*)) LIKE '%@example.com%') FROM {table}")[0][0] == 0, table
