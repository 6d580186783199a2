"""The schema of a live cluster, and its health."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.cli import main
from cdc_pipeline.errors import CdcError
from cdc_pipeline.observability.health import check_cassandra
from cdc_pipeline.schema import Schema, Table, load_schema
from cdc_pipeline.schema.cluster import read_cluster
from cdc_pipeline_tests.live.jars import NEWEST
from cdc_pipeline_tests.live.node import ADDRESS, free_port
from cdc_pipeline_tests.live.rounds import LiveNode

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

DDL = (
    "CREATE KEYSPACE shapes WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    "CREATE TYPE shapes.point (x int, y frozen<list<text>>)",
    """CREATE TABLE shapes."MixedCase" (a int, b text, c timeuuid, d point, e frozen<point>, f map<int, text> static,
       gone text, "back" int, PRIMARY KEY ((a, b), c)) WITH CLUSTERING ORDER BY (c DESC) AND cdc = true
       AND gc_grace_seconds = 77""",
    'ALTER TABLE shapes."MixedCase" DROP gone',
    'ALTER TABLE shapes."MixedCase" DROP "back"',
    'ALTER TABLE shapes."MixedCase" ADD "back" int',
    "CREATE TABLE shapes.counts (a int PRIMARY KEY, n counter)",
    "CREATE TABLE shapes.base (a int, b int, c int, PRIMARY KEY (a, b))",
    """CREATE MATERIALIZED VIEW shapes.seen AS SELECT * FROM shapes.base
       WHERE a IS NOT NULL AND b IS NOT NULL AND c IS NOT NULL PRIMARY KEY (c, a, b)""",
)


@pytest.fixture
def shaped(node: LiveNode) -> LiveNode:
    """A node with tables of many shapes."""
    node.client.execute("DROP KEYSPACE IF EXISTS shapes")
    for ddl in DDL:
        node.client.execute(ddl)
    return node


def exported(node: LiveNode, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `schema export` writes."""
    monkeypatch.setenv("CDC_CASSANDRA_CONTACT_POINTS", ADDRESS)
    monkeypatch.setenv("CDC_CASSANDRA_PORT", str(node.files.cql_port))
    assert main(["schema", "export", str(file)]) == 0
    return file


def columns(table: Table) -> Sequence[tuple[Any, ...]]:
    """Name, kind, type and order of each column."""
    return [(column.name, str(column.kind), column.type.cql, column.descending) for column in table.columns]


def test_read_cluster(shaped: LiveNode) -> None:
    """Tables, types, dropped columns and views are read from the node."""
    schema = read_cluster([ADDRESS], shaped.files.cql_port)
    table = schema.table("shapes.MixedCase")
    assert columns(table) == [
        ("a", "partition_key", "int", False),
        ("b", "partition_key", "text", False),
        ("c", "clustering", "timeuuid", True),
        ("back", "regular", "int", False),
        ("d", "regular", "point", False),
        ("e", "regular", "frozen<point>", False),
        ("f", "static", "map<int, text>", False),
    ]
    assert (table.cdc, table.gc_grace_seconds, table.is_view) == (True, 77, False)
    assert [one.name for one in table.dropped] == ["back", "gone"]
    now = shaped.client.execute("SELECT toUnixTimestamp(now()) FROM system.local")[0][0]
    assert all(0 < now - one.dropped_micros // 1000 < 60_000 for one in table.dropped)
    assert schema.table("shapes.seen").is_view
    assert schema.table("shapes.counts").is_counter


def test_export_is_what_is_read(shaped: LiveNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`schema export` writes a file that loads to the same tables, Cassandra's own among them."""
    loaded = load_schema(exported(shaped, tmp_path / "schema.json", monkeypatch))
    read = read_cluster([ADDRESS], shaped.files.cql_port)
    assert tables(loaded) == tables(read)
    assert {"system", "system_schema", "shapes"} <= {table.keyspace for table in loaded}
    assert not list(tmp_path.glob("*.tmp"))


def tables(schema: Schema) -> dict[str, Table]:
    """By id."""
    return {str(table.id): table for table in schema}


def test_health(node: LiveNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`health cassandra` says that the node is up, and its release."""
    monkeypatch.setenv("CDC_CASSANDRA_CONTACT_POINTS", ADDRESS)
    monkeypatch.setenv("CDC_CASSANDRA_PORT", str(node.files.cql_port))
    assert main(["health", "cassandra", "--json"]) == 0
    (said,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (said["up"], said["kind"], said["version"]) == (True, "cassandra", NEWEST[node.files.series])
    assert check_cassandra([ADDRESS], port=node.files.cql_port).up


def test_nobody_there() -> None:
    """A port without a node is an error with the place, and a health that is down."""
    port = free_port()
    with pytest.raises(CdcError, match=f"cluster {ADDRESS}:{port}: expected a node that answers, found none"):
        read_cluster([ADDRESS], port)
    assert not check_cassandra([ADDRESS], port=port, timeout=2).up
