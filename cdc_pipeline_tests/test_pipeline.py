"""The way of one micro-batch: counts that add up, metrics, and what a caller is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.history import ShardSchema
from cdc_pipeline.observability.metrics import Metrics
from cdc_pipeline.offsets import LaneState
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import EVENTS, TABLES, USERS, Node, event, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, offset
from cdc_pipeline_tests.types.values import int_bytes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty node."""
    return Node(tmp_path / "cdc_raw")


@pytest.fixture
def project(tmp_path: Path, node: Node, pg_database: str) -> Iterator[Project]:
    """A project over the node that loads `ks.users` alone, nine rows a transaction."""
    schema = write_schema(tmp_path / "schema.json", *TABLES)
    settings = {"source": {"tables": ["ks.users"]}, "batch": {"rows": 9}}
    with Workspace(tmp_path / "project", node.directory, schema, pg_database, settings=settings).project() as project:
        yield project


def test_counts_add_up(node: Node, project: Project) -> None:
    """Every mutation is filtered or holds changes; every change is applied or parked; the offset counts changes."""
    both = en.mutation(
        en.update(
            USERS.id.bytes, int_bytes(77), [en.row(columns=[en.cell(b"n")], live=en.Liveness(5))], columns=["name"]
        ),
        en.empty_update(EVENTS.id.bytes, int_bytes(1)),
    )
    node.segment(0, [user(0), event(1, 1), both], [user(1, name="a\x00b"), event(1, 2)])
    node.segment(1, [event(1, n) for n in range(20)])
    runner = drained(project)
    result = runner.result
    assert (result.mutations, result.filtered) == (25, 22)
    assert result.changes == {"ks.users": 3}
    assert (result.applied, result.parked_changes, result.parked) == (2, 1, {"VALUE_OUT_OF_RANGE": 1})
    assert result.parked_by_table == {"ks.users": 1}
    assert result.needs_attention
    assert result.problems == []
    assert (offset(runner).events_processed, offset(runner).position.segment) == (3, node.path(1).name)
    assert result.state == offset(runner) == runner.held


def test_every_commit_is_told(node: Node, project: Project) -> None:
    """The caller's own is called once a micro-batch is committed, with the lane as it stands then."""
    node.segment(0, [user(n) for n in range(30)])
    runner = lane(project)
    assert runner.open("a run").run_id == "a run"
    seen: list[int] = []

    def told(committed: LaneRunner) -> None:
        assert committed.sink.state(committed.lane) == committed.held
        seen.append(committed.held.events_processed)

    runner.on_commit = told
    assert runner.drain() == len(seen) == runner.result.micro_batches
    assert seen == sorted(seen)
    assert seen[-1] == 30
    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) <= 10


def test_the_next_segment_is_fitted_meanwhile(node: Node, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the last micro-batch of a segment is applied the first of the next is read; it is begun, and what it brings
    applied, only behind it."""
    for index in range(3):
        node.segment(index, [user(index)])
    runner = lane(project)
    runner.open("a run")
    read = [threading.Event() for _ in range(4)]
    read[3].set()  # there is none behind the last
    names = [node.path(index).name for index in range(3)]
    begun: list[str] = []
    applied: list[str] = []

    def altered(batch: DecodedBatch) -> DecodedBatch:
        read[names.index(batch.segment)].set()
        return batch

    def apply(held: LaneState, batches: Any, letters: Any, position: Position, *rest: Any) -> LaneState:
        assert read[len(applied) + 1].wait(10)
        applied.append(position.segment)
        assert begun == applied
        return whole(held, batches, letters, position, *rest)

    whole = runner.sink.apply
    runner.log.alter = altered
    monkeypatch.setattr(runner.sink, "apply", apply)
    monkeypatch.setattr(ShardSchema, "begin", lambda _, segment: begun.append(segment))
    assert runner.drain() == 3
    assert applied == names


def test_lag_is_behind_the_newest_write(node: Node, project: Project) -> None:
    """How far a lane is behind is the age of the newest write that it loaded."""
    node.segment(0, [user(0)])
    lag = drained(project).result.lag_seconds
    assert lag is not None
    assert lag > 3600


def test_metrics_are_counted(tmp_path: Path, node: Node, pg_database: str) -> None:
    """Changes by table and parked ones by reason are in the metrics of the project."""
    node.segment(0, [user(0), user(1, name="a\x00b"), event(1, 1)])
    schema = write_schema(tmp_path / "schema.json", *TABLES)
    metrics = Metrics()
    path = Workspace(tmp_path / "project", node.directory, schema, pg_database).write()
    settings = Project.load(path).settings
    with Project(settings, metrics) as project:
        drained(project)
    registry = metrics.registry
    labels = {"destination": "warehouse", "table": "ks.users"}
    assert registry.get_sample_value("cdc_events_processed_total", labels) == 2
    labels = {"destination": "warehouse", "reason": "VALUE_OUT_OF_RANGE"}
    assert registry.get_sample_value("events_dlq_total", labels) == 1


def test_an_empty_directory(project: Project) -> None:
    """Nothing to read is nothing done; the lane stands at the start."""
    runner = drained(project)
    assert runner.result.micro_batches == 0
    assert runner.held.position == START
    assert not runner.result.needs_attention


def test_tables_that_are_masked(node: Node, project: Project) -> None:
    """The report counts what was masked."""
    node.segment(0, [user(n, email=f"{n}@x") for n in range(3)])
    report = drained(project).result.masking.to_dict()
    assert "3" in str(report)
