"""Names, and the DDL for a cluster, as text: none is at hand to run it."""

from __future__ import annotations

from cdc_pipeline.load.clickhouse import names, shared
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions, Cluster
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.transform import MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline_tests.load.changes import table

EVENTS = table("events", key=[("day", "int"), ("room", "double")], clustering=[("at", "int")], static=[("s", "int")])


def ddl(cluster: Cluster) -> list[str]:
    """What `plan` shows of a table."""
    masks = TableMasks(MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None), EVENTS)
    sink = ClickHouseSink("lake", Address("nowhere", 1), options=ClickHouseOptions(cluster=cluster))
    return list(sink.summary(EVENTS, masks).ddl)


def test_keyspaces_with_a_name_of_the_server_s() -> None:
    """A database of ours or of the server's is never written into."""
    assert names.database("shop", "", "cdc") == "shop"
    assert names.database("cdc", "", "cdc") == "ks_cdc"
    assert names.database("Default", "", "cdc") == "ks_Default"
    assert names.database("default", "my_", "cdc") == "my_default"


def test_names_that_are_too_long() -> None:
    """A table whose view no server would take is refused in the plan."""
    for letters, refused in ((190, False), (222, True)):
        long = table("t" * letters)
        masks = TableMasks(MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None), long)
        refusal = ClickHouseSink("lake", Address("nowhere", 1)).summary(long, masks).refusal
        assert (refusal is not None) == refused


def test_replicated() -> None:
    """Every statement goes to the cluster, every table is replicated at the servers' own macros."""
    statements = ddl(Cluster("prod"))
    assert all(" ON CLUSTER `prod` " in statement for statement in statements)
    tables = [one for one in statements if one.startswith("CREATE TABLE")]
    engine = "ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}') ORDER BY"
    assert len(tables) == 3
    assert all(engine in one for one in tables)


def test_without_replication() -> None:
    """A cluster may replicate otherwise."""
    assert not any("Replicated" in one for one in ddl(Cluster("prod", replicated=False)))


def test_distributed() -> None:
    """Rows, static rows and ranges of a partition lie on one shard; views and inserts use the table over all."""
    name = f"ks.events#{EVENTS.id.hex[:12]}"
    statements = ddl(Cluster("prod", distributed=True))
    for part in ("", ":static", ":ranges"):
        spread = (
            f"CREATE TABLE IF NOT EXISTS `cdc`.`{name}{part}` ON CLUSTER `prod` AS `cdc`.`{name}{part}:local` ENGINE = "
            f"Distributed('prod', 'cdc', '{name}{part}:local', cityHash64(`p0`, `p1:b`))"
        )
        assert spread in statements
    rows = next(one for one in statements if one.startswith("CREATE OR REPLACE VIEW") and ":rows`" in one)
    assert f"FROM `cdc`.`{name}` FINAL" in rows


def test_offsets_are_one_for_all_shards() -> None:
    """Every server of the cluster is a replica of what all lanes share."""
    statements = list(shared.statements(ClickHouseOptions(cluster=Cluster("prod", distributed=True))))
    offsets = next(one for one in statements if "cdc_offsets" in one)
    assert (
        "ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/{table}', '{shard}-{replica}', version)"
        in offsets
    )
    assert all(" ON CLUSTER `prod`" in one for one in statements)
