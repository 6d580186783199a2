"""The demo: from nothing to a table that says 100 %."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from cdc_pipeline.cli import main
from cdc_pipeline.project import Project


def test_the_demo_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Every CDC table, counters included, equals the recorded node's answer; the second time too, with the same key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("CDC_CONFIG", "")
    assert main(["demo", "--directory", "demo", "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    names = "inventory order_events orders page_views patients payments products sessions users"
    assert {one["table"] for one in first["parity"]} == {f"ecommerce.{name}" for name in names.split()}
    assert all(one["expected"] == one["equal"] > 5 and one["extra"] == 0 for one in first["parity"])
    assert sum(one["equal"] for one in first["parity"]) > 1000
    assert first["changes"] == first["applied"] == sum(first["tables"].values())
    assert first["refused"] == {}
    assert {"users.email", "patients.diagnosis"} <= set(first["masked_columns"])
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
    """People's e-mail addresses stand in the log and in no table that the demo filled."""
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
