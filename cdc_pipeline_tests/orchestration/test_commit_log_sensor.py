from __future__ import annotations

import shutil
import threading
import time

import dagster as dg
import psycopg
import pytest

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import Options, build_definitions, materialize_lane
from cdc_pipeline.orchestration.names import lane_tags
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site, value_of

NOW = Options(poll_seconds=0)


def tick(site: Site, instance: dg.DagsterInstance, options: Options = NOW) -> dg.SensorResult:
    """One tick of the sensor."""
    sensor = build_definitions(site.project, options).get_repository_def().get_sensor_def("commit_log")
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_backlog_is_a_request(site: Site, instance: dg.DagsterInstance) -> None:
    """A lane with a backlog gets a run of its destination's job, its shard and its tag; the log is observed."""
    result = tick(site, instance)
    (request,) = result.run_requests or ()
    assert (request.job_name, request.partition_key) == ("drain_warehouse_job", "node1")
    assert (request.tags, request.run_key) == ({"cdc/lane": "warehouse/node1"}, None)
    (observed,) = result.asset_events
    assert (observed.asset_key.path, observed.partition) == (["cdc", "commitlog"], "node1")
    assert value_of(observed.metadata, "backlog_bytes/warehouse") > 0


def test_the_request_runs(site: Site, instance: dg.DagsterInstance) -> None:
    """What the sensor asks for is a job that Dagster can run with just that."""
    definitions = build_definitions(site.project, Options(idle_seconds=0, poll_seconds=0))
    sensor = definitions.get_repository_def().get_sensor_def("commit_log")
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or ()
    job = definitions.resolve_job_def(str(request.job_name))
    assert job.execute_in_process(partition_key=request.partition_key, tags=request.tags, instance=instance).success


def test_without_a_backlog_nothing_is_asked(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """After a drain the sensor is quiet, also about a finished segment's unused end; something new wakes it."""
    site = make_site(segments=[0])
    materialize_lane(site.project, LANE, instance)
    assert (tick(site, instance).run_requests or []) == []
    site.add(1)
    assert len(tick(site, instance).run_requests or []) == 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_one_run_per_lane(site: Site, instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    """While a run of the lane is on its way none is asked for."""
    job = build_definitions(site.project).resolve_job_def("drain_warehouse_job")
    instance.create_run_for_job(job, tags=lane_tags(LANE), status=status)
    result = tick(site, instance)
    assert (result.run_requests or []) == []
    assert "warehouse/node1" in str(result.skip_reason)


def test_a_failed_lane_rests_and_is_tried_again(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """After a failure the lane rests; then it is asked for again, for nothing says that it was done."""
    site = make_site()
    with psycopg.connect(site.dsn) as connection:
        connection.execute("CREATE SCHEMA cdc")
        connection.execute("CREATE TABLE cdc.cdc_offsets (wrong int)")
    with pytest.raises(CdcError, match="SQLSTATE"):
        materialize_lane(site.project, LANE, instance)
    assert (tick(site, instance).run_requests or []) == []
    assert len(tick(site, instance, Options(poll_seconds=0, retry_seconds=0)).run_requests or []) == 1


def test_a_tick_waits_for_a_change(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A tick that finds nothing looks on, and returns as soon as something comes."""
    site = make_site(segments=[])
    timer = threading.Timer(1.0, site.add, [0])
    began = time.monotonic()
    timer.start()
    result = tick(site, instance, Options(poll_seconds=20))
    timer.join()
    assert len(result.run_requests or []) == 1
    assert 1.0 <= time.monotonic() - began < 5


def test_a_missing_directory_fails_the_tick(site: Site, instance: dg.DagsterInstance) -> None:
    """A shard that cannot be read is said in the tick, with its directory."""
    shutil.rmtree(site.raw)
    with pytest.raises(CdcError, match=r"cdc_raw: shard node1: expected a readable directory"):
        tick(site, instance)
