"""Counters on a live node, incremented and deleted at random, against PostgreSQL while they are written."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc_pipeline.load import Parity
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.integration.workspace import Workspace, lane
from cdc_pipeline_tests.live.rounds import LiveNode
from cdc_pipeline_tests.live.truth import selected

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

STATEMENTS = 300
_SECONDS = 60.0


def statements(rng: random.Random, keyspace: str) -> Iterator[str]:
    """Increments, and all that deletes, of few rows; increments follow on every deletion.

    Columns are deleted in other partitions than ranges and partitions: what an increment behind both is worth depends
    on whether the node flushed in between (docs/counters.md).
    """
    table = f"{keyspace}.hits"
    for _ in range(STATEMENTS):
        page, at, by = rng.randrange(4), rng.randrange(3), rng.choice((0, 1, 5, 2**62, 2**63 - 1))
        row, column = f"page = {page} AND at = {at}", rng.choice(("n", "m"))
        counted = f"UPDATE {table} SET {column} = {column} {rng.choice('+-')} {by} WHERE {row}"
        static = f"UPDATE {table} SET s = s + {by} WHERE page = {page}"
        alone = f"UPDATE {keyspace}.alone SET n = n - {by} WHERE id = {page}"
        batch = f"BEGIN COUNTER BATCH {counted}; {static}; {alone}; APPLY BATCH"
        if page < 2:
            deletions = [
                f"DELETE {column} FROM {table} WHERE {row}",
                f"DELETE s FROM {table} WHERE page = {page}",
                f"DELETE n FROM {keyspace}.alone WHERE id = {page}",
            ]
        else:
            deletions = [
                f"DELETE FROM {table} WHERE page = {page}",
                f"DELETE FROM {table} WHERE page = {page} AND at >= {at} AND at < {at + 2}",
                f"DELETE FROM {keyspace}.alone WHERE id = {page}",
            ]
        yield rng.choice([counted] * 8 + [static, alone, batch] * 3 + [f"DELETE FROM {table} WHERE {row}", *deletions])


def make_tables(node: LiveNode, keyspace: str) -> None:
    """Two counter tables with CDC from the start, and one with counts from before."""
    execute = node.client.execute
    execute(f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")
    columns = "page int, at int, s counter static, n counter, m counter, PRIMARY KEY (page, at)"
    execute(f"CREATE TABLE {keyspace}.hits ({columns}) WITH cdc = true AND CLUSTERING ORDER BY (at DESC)")
    execute(f"CREATE TABLE {keyspace}.alone (id int PRIMARY KEY, n counter) WITH cdc = true")
    execute(f"CREATE TABLE {keyspace}.older (id int PRIMARY KEY, n counter) WITH cdc = false")
    for page in range(3):
        execute(f"UPDATE {keyspace}.older SET n = n + {100 + page} WHERE id = {page}")
    execute(f"ALTER TABLE {keyspace}.older WITH cdc = true")


def test_counters(node: LiveNode, seed: int, tmp_path: Path, make_pg_database: Callable[[], str]) -> None:
    """Deletions and what is incremented behind them, a truncation, and counts of before CDC after an increment by
    nothing: PostgreSQL comes to answer what the node answers."""
    keyspace, conninfo, rng = f"counters_{seed}", make_pg_database(), random.Random(seed)
    make_tables(node, keyspace)
    snapshot = tmp_path / "schema.json"
    node._export(snapshot)
    source = {"tables": [f"{keyspace}.*"], "complete_counters": [f"{keyspace}.older"]}
    place = Workspace(tmp_path / "w", node.files.cdc_raw, snapshot, conninfo, False, settings={"source": source})
    with place.project() as project:
        runner = lane(project)
        runner.open("test")
        for number, statement in enumerate(statements(rng, keyspace)):
            node.client.execute(statement)
            if number == STATEMENTS // 2:
                node.client.execute(f"TRUNCATE {keyspace}.hits")
            if number % 50 == 0:
                runner.drain()
        for page in range(3):
            node.client.execute(f"UPDATE {keyspace}.older SET n = n + 0 WHERE id = {page}")
        comes_to_equal(node, project, runner)
        assert not runner.result.parked


def comes_to_equal(node: LiveNode, project: Project, runner: LaneRunner) -> None:
    """Drains until every view is what `SELECT` answers."""
    loaded = project.loaded(runner.sink)
    assert {name.rpartition(".")[2] for name in loaded} == {"hits", "alone", "older"}
    deadline = time.monotonic() + _SECONDS
    found: list[Parity] = []
    while time.monotonic() < deadline:
        runner.drain()
        as_of = dt.datetime.now(dt.UTC).isoformat()
        found = [runner.sink.compare(m.table, m, selected(node.client, m.table), as_of) for m in loaded.values()]
        if all(one.holds for one in found):
            assert sum(one.equal for one in found) > 3
            return
        time.sleep(0.2)
    pytest.fail(f"not equal after {_SECONDS:.0f} s: {[one for one in found if not one.holds]}")
