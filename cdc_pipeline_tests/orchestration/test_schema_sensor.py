from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg

from cdc_pipeline.orchestration import build_definitions
from cdc_pipeline_tests.orchestration.conftest import Site, value_of


def tick(site: Site, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    """One tick of the sensor."""
    sensor = build_definitions(site.project).get_repository_def().get_sensor_def("schema")
    result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def edit(path: Path) -> None:
    """Adds a column to `users`, drops one of `orders`, adds a table `coupons`."""
    rows: dict[str, list[dict[str, Any]]] = json.loads(path.read_bytes())
    table = next(row for row in rows["tables"] if row["table_name"] == "users")
    column = next(row for row in rows["columns"] if row["table_name"] == "users" and row["kind"] == "regular")
    key = next(row for row in rows["columns"] if row["table_name"] == "users" and row["kind"] == "partition_key")
    rows["columns"].append({**column, "column_name": "nickname", "type": "text"})
    gone = next(row for row in rows["columns"] if row["table_name"] == "orders" and row["column_name"] == "notes")
    rows["columns"].remove(gone)
    rows["tables"].append({**table, "table_name": "coupons", "id": str(uuid.uuid4())})
    rows["columns"].append({**key, "table_name": "coupons"})
    path.write_text(json.dumps(rows))


def test_the_first_tick_only_observes(site: Site, instance: dg.DagsterInstance) -> None:
    """Every selected table is observed with its columns; nothing is asked for."""
    result = tick(site, instance)
    assert (result.run_requests or []) == []
    observed = {event.asset_key.path[-1]: event for event in result.asset_events}
    assert {"users", "orders", "page_views"} <= observed.keys()
    columns = value_of(observed["users"].metadata, "dagster/column_schema").columns
    assert {"pii": ""} in [column.tags for column in columns]


def test_an_unchanged_schema_is_skipped(site: Site, instance: dg.DagsterInstance) -> None:
    """The same schema again says nothing and keeps the cursor."""
    cursor = tick(site, instance).cursor
    again = tick(site, instance, cursor)
    assert (list(again.asset_events or []), again.run_requests or [], again.cursor) == ([], [], cursor)


def test_a_change_is_named_and_prepared(site: Site, instance: dg.DagsterInstance) -> None:
    """What came and went is in the metadata by name, and a run that prepares the tables is asked for, once."""
    cursor = tick(site, instance).cursor
    edit(site.schema)
    result = tick(site, instance, cursor)
    said = {event.asset_key.path[-1]: value_of(event.metadata, "change") for event in result.asset_events}
    assert said == {"coupons": "table added", "orders": "columns: dropped notes", "users": "columns: added nickname"}
    assert len(result.run_requests or []) == 1
    assert (tick(site, instance, result.cursor).run_requests or []) == []


def test_the_run_asked_for_prepares(site: Site, instance: dg.DagsterInstance) -> None:
    """The run makes the new table and the new column in the destination, and moves no data."""
    edit(site.schema)
    job = build_definitions(site.project).resolve_job_def("prepare_tables")
    assert job.execute_in_process(instance=instance).success
    with psycopg.connect(site.dsn) as connection:
        connection.execute("SELECT nickname FROM ecommerce.users")
        assert connection.execute("SELECT count(*) FROM ecommerce.coupons").fetchone() == (0,)
    assert site.offsets() == []
