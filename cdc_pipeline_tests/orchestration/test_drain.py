from __future__ import annotations

from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import OffsetCopies, build_definitions, materialize_lane
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site, value_of

USERS = dg.AssetKey(["warehouse", "ecommerce", "users"])


def run(site: Site, instance: dg.DagsterInstance, **more: Any) -> dg.ExecuteInProcessResult:
    """The drain job as it is, with idle_seconds 0."""
    job = build_definitions(site.project, Options(idle_seconds=0)).resolve_job_def("drain_warehouse_job")
    return job.execute_in_process(partition_key="node1", instance=instance, **more)


def materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetMaterialization:
    """The newest of an asset."""
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_a_run_materializes_what_it_touched(site: Site, instance: dg.DagsterInstance) -> None:
    """One materialization per touched table, with counts and offsets; the view holds as many rows as it says."""
    result = run(site, instance)
    events = [event.materialization for event in result.get_asset_materialization_events()]
    counts = [event.asset_key.path[-1] for event in events]
    assert len(counts) == len(set(counts))
    users = materialization(instance, USERS)
    assert users.partition == "node1"
    rows = value_of(users.metadata, "dagster/row_count")
    with psycopg.connect(site.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM ecommerce.users").fetchone() == (rows,)
    applied = {e.asset_key.path[-1]: value_of(e.metadata, "changes_applied") for e in events}
    (offset,) = site.offsets()
    assert sum(applied.values()) == offset[4]
    assert value_of(users.metadata, "offset_to") == f"{offset[2]}:{offset[3]}"
    assert "| mutations |" in value_of(users.metadata, "summary")
    assert value_of(users.metadata, "lag_seconds") > 0


def test_the_copy_follows_the_offset(site: Site, instance: dg.DagsterInstance) -> None:
    """After a run the copy says what the destination says, and the run carries its lane and its bound as tags."""
    result = run(site, instance)
    copy = OffsetCopies(instance).read(LANE)
    (offset,) = site.offsets()
    assert copy is not None
    assert (copy.position.segment, copy.position.offset, copy.events_processed, copy.epoch) == offset[2:]
    stored = instance.get_run_by_id(result.run_id)
    assert stored is not None
    assert (stored.tags["cdc/lane"], stored.tags["dagster/max_runtime"]) == ("warehouse/node1", "900")


def test_a_second_run_does_nothing(site: Site, instance: dg.DagsterInstance) -> None:
    """With nothing new there is nothing to report, and nothing is counted twice."""
    run(site, instance)
    before = site.offsets()
    assert run(site, instance).get_asset_materialization_events() == []
    assert [row[:5] for row in site.offsets()] == [row[:5] for row in before]


def test_a_run_goes_on_where_the_last_ended(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """What came since is loaded, and `offset_from` says where it began."""
    site = make_site(segments=[0])
    run(site, instance)
    stood = site.offsets()[0]
    site.add(1)
    events = run(site, instance).get_asset_materialization_events()
    assert {value_of(event.materialization.metadata, "offset_from") for event in events} == {f"{stood[2]}:{stood[3]}"}
    whole = make_site()
    with dg.DagsterInstance.ephemeral(str(whole.folder)) as another:
        run(whole, another)
    assert site.views() == whole.views()
    assert site.offsets()[0][4] == whole.offsets()[0][4]


def test_a_run_over_one_table_loads_the_lane(site: Site, instance: dg.DagsterInstance) -> None:
    """The offset is the lane's, so a run over one of its tables loads and reports all of them."""
    run(site, instance, asset_selection=[USERS])
    orders = materialization(instance, dg.AssetKey(["warehouse", "ecommerce", "orders"]))
    assert (orders.partition, value_of(orders.metadata, "changes_applied") > 0) == ("node1", True)
    assert site.views()["ecommerce.orders"]


def test_a_wiped_destination_stops_the_run(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A copy ahead of its destination stops the run with its sentence; accepting the destination goes on."""
    site = make_site()
    run(site, instance)
    views, before = site.views(), OffsetCopies(instance).read(LANE)
    wiped = make_site()
    with pytest.raises(CdcError, match=r"the copy of the offset stands at .* it was restored or wiped"):
        materialize_lane(wiped.project, LANE, instance)
    assert OffsetCopies(instance).read(LANE) == before
    assert wiped.views()["ecommerce.users"] == []
    materialize_lane(wiped.project, LANE, instance, accept_destination=True)
    assert wiped.views() == views


def test_a_destination_that_is_down_is_one_sentence(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """The run fails with what the library says, after its tries, and the failure names the class."""
    site = make_site()
    name = conninfo_to_dict(site.dsn)["dbname"]
    with psycopg.connect(make_conninfo(site.dsn, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
    with pytest.raises(CdcError, match=r"destination warehouse.*: preparing tables failed"):
        materialize_lane(site.project, LANE, instance)


def test_what_is_committed_is_reported_though_the_run_fails(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A run that stops half-way reports the micro-batches it committed, and fails."""
    site = make_site(rows=400)

    def forbid(runner: Any) -> None:
        if runner.result.micro_batches == 3:  # the first ends where the counter table is made
            with psycopg.connect(site.dsn) as connection:
                connection.execute("ALTER TABLE cdc.cdc_offsets ADD CHECK (events_processed < 0) NOT VALID")

    with pytest.raises(CdcError, match="SQLSTATE"):
        materialize_lane(site.project, LANE, instance, watch=forbid)
    (offset,) = site.offsets()
    reported = [
        value_of(materialization(instance, key).metadata, "changes_applied")
        for key in instance.all_asset_keys()
        if key.path[0] == "warehouse"
    ]
    assert sum(reported) == offset[4] > 0
