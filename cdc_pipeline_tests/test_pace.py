"""A lane at its pace: many small index updates become few commits, and nobody waits for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipeline.pace import Pace
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import FIRST, TABLES, Node, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, lane

PACE = 0.4
ROWS = 1000


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty node."""
    return Node(tmp_path / "cdc_raw")


@pytest.fixture
def runner(tmp_path: Path, node: Node, pg_database: str) -> Iterator[LaneRunner]:
    """An open lane at a pace."""
    schema = write_schema(tmp_path / "schema.json", *TABLES)
    place = Workspace(tmp_path / "project", node.directory, schema, pg_database, settings={"batch": {"rows": ROWS}})
    with place.project() as project:
        runner = lane(project)
        runner.pace = Pace(PACE, ROWS, 2**20)
        runner.open("test")
        yield runner


def seconds_of(runner: LaneRunner, should_stop: bool = False) -> tuple[int, float]:
    """A drain: its micro-batches, and how long it took."""
    began = time.monotonic()
    done = runner.drain(should_stop=lambda: should_stop)
    return done, time.monotonic() - began


def test_many_index_updates_are_few_commits(node: Node, runner: LaneRunner) -> None:
    """A segment that grows every 20 ms is committed once per pace, and all of it arrives."""
    sections = [b"".join(map(en.entry, [user(number)])) for number in range(60)]
    ends = [len(en.segment(sections[:count], segment_id=FIRST)) - 8 for count in range(1, len(sections) + 1)]
    node.path().write_bytes(en.segment(sections, segment_id=FIRST))
    ended = threading.Event()

    def grow() -> None:
        for end in ends:
            node.index().write_text(f"{end}\n")
            time.sleep(0.02)
        ended.set()

    writer = threading.Thread(target=grow)
    began = time.monotonic()
    writer.start()
    while not ended.is_set() or runner.source.backlog(runner.held.position):
        runner.drain()
        time.sleep(0.005)
    took = time.monotonic() - began
    writer.join()
    assert runner.held.events_processed == len(sections)
    assert 2 <= runner.result.micro_batches <= took / PACE + 2
    assert runner.result.micro_batches < len(sections) / 4


def test_the_first_and_the_last_look_do_not_wait(node: Node, runner: LaneRunner) -> None:
    """`run --once` on what is there commits at once; with nothing behind, a further look ends at once."""
    node.segment(0, [user(1)], live=True)
    done, took = seconds_of(runner)
    assert (done, took < PACE / 2) == (1, True)
    done, took = seconds_of(runner)
    assert (done, took < PACE / 2) == (0, True)


def test_the_next_commit_waits_and_can_be_stopped(node: Node, runner: LaneRunner) -> None:
    """A change right after a commit waits for its time; whoever asks the lane to stop does not."""
    node.segment(0, [user(1)], live=True)
    runner.drain()
    node.segment(0, [user(1)], [user(2)], live=True)
    done, took = seconds_of(runner, should_stop=True)
    assert (done, took < PACE / 2) == (0, True)
    done, took = seconds_of(runner)
    assert done == 1
    assert took > PACE / 2


def test_a_whole_micro_batch_does_not_wait(node: Node, runner: LaneRunner) -> None:
    """With as many changes behind as a micro-batch takes the lane goes on at full speed."""
    node.segment(0, [user(number) for number in range(50)], live=True)
    runner.pace.seconds = 60.0
    runner.drain()
    sections = [[user(number) for number in range(50)], [user(number) for number in range(3 * ROWS)]]
    node.segment(0, *sections, live=True)
    done, took = seconds_of(runner)
    assert done >= 2
    assert took < 30


@pytest.mark.parametrize(("behind", "goes"), [(0, False), (99, False), (100, True), (5000, True)])
def test_what_is_enough(behind: int, goes: bool) -> None:
    """Ten rows of ten bytes, as changes were so far, or the limit in bytes if that is less."""
    for pace in (Pace(60.0, rows=10, bytes=1000), Pace(60.0, rows=1000, bytes=100)):
        pace.committed(log_bytes=50, changes=5)
        assert pace.wait(lambda: behind, lambda: True) is goes


def test_without_a_pace_nobody_looks() -> None:
    """The other destinations' lanes are not slowed."""
    pace = Pace()
    pace.committed(10, 1)
    assert pace.wait(lambda: pytest.fail("asked what is behind"), lambda: False)


def test_a_project_without_clickhouse_has_none(runner: LaneRunner, tmp_path: Path) -> None:
    """PostgreSQL's lanes commit as soon as they can."""
    with Project.load(tmp_path / "project" / "cdc.yaml") as project:
        assert lane(project).pace.seconds == 0.0
