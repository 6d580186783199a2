"""What vanished unread: certain, possible, and what a gap does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_pipeline.archivist import Archivist
from cdc_pipeline.capture import ShardLog
from cdc_pipeline.capture.archive import ShardArchive
from cdc_pipeline.capture.loss import Gap, Seen, gap, possible_loss
from cdc_pipeline.capture.space import Limits
from cdc_pipeline.change import START, Position
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.integration.node import FIRST, TABLES, Node, user

DELETES = Limits(total=2**30, block_writes=False)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty directory."""
    return Node(tmp_path / "cdc_raw")


def known(*numbers: int) -> list[int]:
    """Ids of segments by number."""
    return [FIRST + number for number in numbers]


def segments(node: Node, *numbers: int) -> None:
    """Finished segments."""
    for number in numbers:
        node.segment(number, [user(number)])


@pytest.mark.parametrize(
    ("there", "read", "found"),
    [
        ([3, 4], [0, 1, 2], None),
        ([5, 6], [0, 1, 2], (2, 5)),
        ([5, 6], [], None),
        ([3, 6], [0, 1, 2], None),
        ([3, 6, 9], [1], (1, 3)),
        ([40_000], [0, 1, 2], None),
        ([], [0], None),
    ],
)
def test_gaps(node: Node, there: list[int], read: list[int], found: tuple[int, int] | None) -> None:
    """Only below the oldest that is left, and only inside one run of a node: a jump of ids is a restart."""
    segments(node, *there)
    states = ShardLog("node1", node.directory).segments()
    wanted = Gap(FIRST + found[0], FIRST + found[1]) if found is not None else None
    assert gap(states, known(*read)) == wanted


def test_a_segment_without_changes_fills_a_gap(node: Node) -> None:
    """A log that is there without an index held no CDC data: its id is known."""
    node.spare(1)
    segments(node, 2)
    assert gap(ShardLog("node1", node.directory).segments(), known(0)) is None


def test_who_is_told(node: Node) -> None:
    """Where Cassandra deletes; where it refuses writes nothing is lost; where nobody knows, only when it is full."""
    segments(node, 3)
    source = ShardLog("node1", node.directory)
    read = [node.path(0).name]
    (told,) = possible_loss(source, read, DELETES)
    assert told.startswith(f"possible loss: segment ids {FIRST + 1} to {FIRST + 2} were never seen")
    assert "held no CDC data, or Cassandra deleted them unread" in told
    assert possible_loss(source, read, Limits(total=2**30, block_writes=True)) == []
    assert possible_loss(source, read, Limits(total=2**30)) == []
    assert len(possible_loss(source, read, Limits(total=100))) == 1


def test_the_archive_fills_a_gap(node: Node, tmp_path: Path) -> None:
    """What our own archive took is no loss, also when it has left the archive."""
    segments(node, 0, 1, 2)
    source = ShardLog("node1", node.directory, tmp_path / "archive")
    Archivist(source, ShardArchive(tmp_path / "archive"), Schema(TABLES), None).sweep()
    segments(node, 3)
    assert possible_loss(source, [node.path(0).name], DELETES) == []


def test_seen_and_gone(node: Node) -> None:
    """By how far the lane had read: nothing of it, a part, all that was durable."""
    node.segment(0, [user(0)], live=True)
    source = ShardLog("node1", node.directory)
    states = source.segments()
    name, end = node.path(0).name, states[0].end
    told = {}
    for offset in (None, 50, end):
        position = START if offset is None else Position(name, offset)
        seen = Seen()
        assert seen.look(states, position) == []
        told[offset] = seen.look([], position)
        assert seen.look([], position) == []
    assert told[None] == [f"segment {name}: lost: it had changes, and vanished before any of it was read"]
    assert told[50] == [f"segment {name}: lost: vanished at position 50, although {end} was durable"]
    assert told[end] == [
        f"segment {name}: possible loss: vanished unfinished when it was read up to position {end}; "
        "whether more followed cannot be known"
    ]


def test_finished_and_gone(node: Node) -> None:
    """A finished one that was read is not missed; one whose index counts unused bytes may have been read."""
    node.segment(0, [user(0)])
    source = ShardLog("node1", node.directory)
    name, end = node.path(0).name, source.segments()[0].end
    for number, position in (
        (0, Position(name, end)),
        (0, Position(node.path(1).name, 0)),
        (1, Position(name, end - 1)),
    ):
        seen = Seen()
        seen.look(source.segments(), position)
        told = seen.look([], position)
        assert len(told) == number
        assert all("possible loss" in one for one in told)
