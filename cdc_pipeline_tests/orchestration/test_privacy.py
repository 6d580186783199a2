from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from cdc_pipeline.orchestration import build_definitions, materialize_lane
from cdc_pipeline.orchestration.names import AUDIT_JOB
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site


def canaries(site: Site) -> set[bytes]:
    """Texts of at least eight bytes that really stand in the recording's rows, masked columns' and others'."""
    found = set()
    for table, rows in site.recording.expected().items():
        columns = {c.name for c in site.project.schema.table(table).columns if c.type.cql in ("text", "ascii")}
        for row in rows:
            found |= {bytes.fromhex(row[name].removeprefix("0x")) for name in columns if row.get(name)}
    return {value for value in found if len(value) >= 8}


def kept(folder: Path) -> Iterator[bytes]:
    """Everything that Dagster keeps: its files, and the rows of its databases as text."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
        if path.suffix == ".db":
            with sqlite3.connect(path) as connection:
                yield "\n".join(connection.iterdump()).encode()
            connection.close()


def use_everything(site: Site, instance: dg.DagsterInstance) -> None:
    """A drain, a reload, an audit and what the schema sensor observes."""
    definitions = build_definitions(site.project)
    materialize_lane(site.project, LANE, instance, accept_destination=True, log_level="DEBUG")
    definitions.resolve_job_def("segment_reload").execute_in_process(partition_key="node1", instance=instance)
    definitions.resolve_job_def(AUDIT_JOB).execute_in_process(instance=instance)
    observed = definitions.get_repository_def().get_sensor_def("schema")(dg.build_sensor_context(instance=instance))
    assert isinstance(observed, dg.SensorResult)
    for event in observed.asset_events:
        instance.report_runless_asset_event(event)


def test_dagster_keeps_no_value(make_site: MakeSite, sqlite_instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Nothing that Dagster stored holds a value of a row, masked or not, parked changes included."""
    site, shop = make_site("random-5.0-s1", profile="native", segments=[0]), make_site()
    for one in (site, shop):
        use_everything(one, sqlite_instance)
    planted = canaries(site) | canaries(shop)
    assert any(b"@" in value for value in planted)
    everything = b"\0".join(kept(tmp_path / "sqlite"))
    assert b"changes_applied" in everything
    assert [value for value in planted if value in everything] == []
