from __future__ import annotations

import json

import dagster as dg
import psycopg
import pytest

from cdc_pipeline.config import load_config
from cdc_pipeline.orchestration import build_definitions
from cdc_pipeline_tests.orchestration.conftest import Site


def test_a_destination_that_is_down_stops_no_other(site: Site, instance: dg.DagsterInstance) -> None:
    """The tables are made where they can be, and the run fails with the sentence of the destination that is down."""
    config = json.loads(site.config.read_text())
    down = {"kind": "postgres", "host": "127.0.0.1", "port": 1}
    config["destinations"] = {"down": down, **config["destinations"]}
    site.config.write_text(json.dumps(config))
    job = build_definitions(load_config(site.config)).resolve_job_def("prepare_tables")
    with pytest.raises(dg.Failure) as caught:
        job.execute_in_process(instance=instance)
    assert "destination down" in str(caught.value.description)
    with psycopg.connect(site.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM ecommerce.users").fetchone() == (0,)
