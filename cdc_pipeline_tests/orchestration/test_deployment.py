from __future__ import annotations

from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from cdc_pipeline.orchestration import OffsetCopies, materialize_lane
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite

ROOT = Path(__file__).parents[2]


def test_the_instance_file_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster takes `dagster.yaml` as it is: monitoring on, threads for sensors, one run per lane, no telemetry."""
    (tmp_path / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert instance.get_settings("sensors")["use_threads"]
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        (limit,) = queue.tag_concurrency_limits
        assert limit == {"key": "cdc/lane", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}


def test_the_postgres_section_is_valid(
    tmp_path: Path, make_site: MakeSite, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commented section, uncommented, keeps runs, events and offset copies in a real PostgreSQL."""
    address = conninfo_to_dict(pg_database)
    text = (ROOT / "dagster.yaml").read_text().replace("port: 5432", f"port: {address['port']}")
    section = "\n".join(line.removeprefix("#") for line in text.split("#storage")[1].splitlines())
    config = yaml.safe_load(text) | yaml.safe_load(f"storage{section}")
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    for name, key in (("HOST", "host"), ("DB", "dbname"), ("USER", "user"), ("PASSWORD", "password")):
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", str(address[key]))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    site = make_site()
    with dg.DagsterInstance.get() as instance:
        materialize_lane(site.project, LANE, instance)
        copy = OffsetCopies(instance).read(LANE)
        assert copy is not None
        assert copy.events_processed == site.offsets()[0][4]
        assert instance.get_latest_materialization_event(dg.AssetKey(["warehouse", "ecommerce", "users"])) is not None
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM kvs").fetchone() == (True,)
