"""Destinations by name: what each is told, and the servers that are ours to start."""

from __future__ import annotations

import http.client
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.config import Settings
from cdc_pipeline.destinations import Destinations
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.timescaledb import TimescaleSink
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline_tests.integration.node import USERS

Make = Callable[..., Destinations]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder short enough for an embedded server."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-tests-destinations-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """A function that makes destinations of their settings, closed at the end."""
    made: list[Destinations] = []

    def destinations(**places: Any) -> Destinations:
        source = {"shards": {"n": {"directory": folder / "raw"}}, "schema": {"file": folder / "schema.json"}}
        settings = Settings.model_validate({"source": source, "destinations": places, "batch": {"rows": 77}})
        made.append(Destinations(settings))
        return made[-1]

    yield destinations
    for one in made:
        one.close()


def masks(of: Table) -> TableMasks:
    return TableMasks(MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None), of)


def test_each_kind_has_its_sink_its_batch_and_its_pace(make: Make) -> None:
    """The section `batch` is not ClickHouse's, and no other kind waits."""
    there = make(
        pg={"kind": "postgres", "host": "h"},
        ts={"kind": "timescaledb", "host": "h"},
        ch={"kind": "clickhouse", "host": "h", "pace": "250ms", "batch": {"bytes": 5}},
    )
    kinds = {name: type(there.planner(name)) for name in ("pg", "ts", "ch")}
    assert kinds == {"pg": PostgresSink, "ts": TimescaleSink, "ch": ClickHouseSink}
    assert [there.batch(name).rows for name in kinds] == [77, 77, 200_000]
    assert there.batch("ch").bytes == 5
    paces = {name: there.pace(name) for name in kinds}
    assert [pace.seconds for pace in paces.values()] == [0.0, 0.0, 0.25]
    assert (paces["ch"].rows, paces["ch"].bytes) == (200_000, 5)


def test_what_is_configured_reaches_the_statements(make: Make) -> None:
    """Databases, engines and the cluster of a plan are those of the configuration."""
    cluster = {"name": "main", "path": "/x/{shard}/{table}", "replica": "{host}"}
    there = make(ch={"kind": "clickhouse", "host": "h", "prefix": "p_", "state_database": "mine", "cluster": cluster})
    summary = there.planner("ch").summary(USERS, masks(USERS))
    text = "\n".join(summary.ddl)
    assert summary.target == "`p_ks`.`users`"
    assert "ON CLUSTER `main`" in text
    assert "ReplicatedAggregatingMergeTree('/x/{shard}/{table}', '{host}')" in text
    assert "`mine`." in text
    assert "cdc`." not in text


def answers(port: int) -> bool:
    """Whether a ClickHouse is there."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False


def test_embedded_servers_are_started_once_and_left_at_the_end(make: Make, folder: Path) -> None:
    """Both kinds at once, by several threads: one server each, gone when the destinations are closed."""
    there = make(
        pg={"kind": "postgres", "embedded": True, "directory": folder / "pg"},
        ch={"kind": "clickhouse", "embedded": True, "directory": folder / "ch"},
    )
    with ThreadPoolExecutor(4) as pool:
        sinks = list(pool.map(there.sink, ["pg", "ch", "pg", "ch"]))
    for sink in sinks:
        sink.prepare([(USERS, masks(USERS))])
        assert sink.row_count("ks.users") == 0
    address = there.address("ch")
    assert address.port == there.address("ch").port
    assert answers(address.port)
    there.close()
    assert not answers(address.port)


def test_one_that_cannot_start_is_that_ones_matter(make: Make, folder: Path) -> None:
    """A file in the place of its folder stops its own sink, with the place in the message."""
    (folder / "taken").write_text("")
    there = make(
        pg={"kind": "postgres", "host": "h"},
        ch={"kind": "clickhouse", "embedded": True, "directory": folder / "taken"},
    )
    with pytest.raises(ConfigurationError, match="taken"):
        there.sink("ch")
    assert there.sink("pg").name == "pg"
    assert there.planner("ch").name == "ch"
