"""Which bytes of which segments are safe to read, by version, index and age."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_pipeline.capture import ShardLog, read_segment
from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.change import START, Position, SegmentName
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline_tests.integration.node import FIRST, Node, user


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty directory."""
    return Node(tmp_path / "cdc_raw")


def log(node: Node, archive: Path | None = None) -> ShardLog:
    return ShardLog("node1", node.directory, archive)


def waiting(node: Node, position: Position = START) -> list[int]:
    """Numbers of the segments that wait."""
    return [state.name.id - FIRST for state in log(node).waiting(position)]


def test_a_finished_segment(node: Node) -> None:
    """COMPLETED means all of the file, however large the offset before it."""
    node.segment(0, [user(0)])
    (state,) = log(node).segments()
    assert (state.durable, state.finished, state.problem, state.has_changes) == (None, True, None, True)
    assert state.name == SegmentName(7, FIRST)
    assert state.size == node.path(0).stat().st_size


def test_a_live_segment(node: Node) -> None:
    """An offset alone is how far may be read."""
    node.segment(0, [user(0)], index="4711\n")
    (state,) = log(node).segments()
    assert (state.durable, state.finished, state.has_changes) == (4711, False, True)


def test_a_spare_segment(node: Node) -> None:
    """From 4.0 on a segment without an index holds no CDC data so far: it is neither read nor waited for."""
    node.spare(0)
    node.segment(1, [user(1)])
    node.spare(2)
    assert [state.has_changes for state in log(node).segments()] == [False, True, False]
    assert waiting(node) == [1]


def test_3_11_has_no_index(node: Node) -> None:
    """In version 6 presence is the only sign: a segment in `cdc_raw` is finished."""
    node.path(0, 6).write_bytes(b"x")
    (state,) = log(node).segments()
    assert (state.durable, state.finished, state.has_changes) == (None, True, True)


def test_what_is_no_segment(node: Node) -> None:
    """Other files are not looked at."""
    for other in ("README", "CommitLog-7-1.log.tmp", f"CommitLog-7-{FIRST}_cdc.idx", "CommitLog-x.log"):
        (node.directory / other).write_text("x")
    assert log(node).segments() == []
    assert log(node).head() is None


def test_a_segment_that_vanished(node: Node) -> None:
    """One that is gone between listing and looking is none."""
    assert read_segment(node.path(0), SegmentName(7, FIRST)) is None


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("12a", "3 characters that are no number")])
def test_an_index_without_a_number(node: Node, text: str, found: str) -> None:
    """What is in the index is not told, only how much."""
    node.segment(0, [user(0)], index=text)
    (state,) = log(node).segments()
    assert (state.durable, state.finished, state.has_changes) == (0, False, True)
    assert str(state.problem) == (
        f"segment {node.index(0).name}, offset 0: an offset expected decimal digits, found {found}"
    )


def test_segments_are_ordered_by_id(node: Node) -> None:
    """Ids count, not names: 9 comes before 10."""
    for number in (10, 9, 100):
        (node.directory / f"CommitLog-7-{number}.log").write_bytes(b"x")
        (node.directory / f"CommitLog-7-{number}_cdc.idx").write_text("1\nCOMPLETED\n")
    assert [state.name.id for state in log(node).segments()] == [9, 10, 100]


def test_nothing_behind_an_unfinished_segment(node: Node) -> None:
    """A lane reads in order: behind a segment that is still being written nothing is read."""
    node.segment(0, [user(0)], live=True)
    node.segment(1, [user(1)])
    assert waiting(node) == [0]
    assert log(node).waiting(START)[0].durable is not None


def test_a_killed_node(node: Node) -> None:
    """An unfinished index that is old and has later segments behind it counts as finished; the newest never does."""
    node.segment(0, [user(0)], live=True)
    node.segment(1, [user(1)], live=True)
    node.settle()
    first, second = log(node).segments()
    assert (first.finished, first.durable) == (True, None)
    assert (second.finished, second.durable is None) == (False, False)


def test_positions(node: Node) -> None:
    """Waiting begins with the position's own segment; one that is no longer there is passed by its id."""
    for number in range(3):
        node.segment(number, [user(number)])
    assert waiting(node) == [0, 1, 2]
    assert waiting(node, Position(node.path(1).name, 5)) == [1, 2]
    node.path(1).unlink()
    assert waiting(node, Position(node.path(1).name, 5)) == [2]


def test_backlog_and_head(node: Node) -> None:
    """How many bytes wait, and where the end is: what the index says, without the unused tail of a finished segment."""
    segments = [node.segment(number, [user(number)]) for number in range(2)]
    ends = [int(path.with_name(f"{path.stem}_cdc.idx").read_text().split()[0]) for path in segments]
    assert all(end < path.stat().st_size for end, path in zip(ends, segments, strict=True))
    assert log(node).backlog(START) == sum(ends)
    assert log(node).backlog(Position(node.path(0).name, 50)) == sum(ends) - 50
    assert log(node).backlog(Position(node.path(1).name, ends[1])) == 0
    assert log(node).head() == Position(node.path(1).name, ends[1])
    node.segment(2, [user(2)], index="50\n")
    assert log(node).head() == Position(node.path(2).name, 50)
    assert log(node).backlog(Position(node.path(2).name, 20)) == 30


def test_an_archive(node: Node, tmp_path: Path) -> None:
    """Both are read as one; what lies in both is read from the archive, and there presence means finished."""
    archive = Node(tmp_path / "archive")
    node.segment(1, [user(1)])
    node.segment(2, [user(2)], live=True)
    archive.segment(0, [user(0)])
    archive.segment(1, [user(1)])
    for number in (0, 1):
        archive.index(number).unlink()
    both = log(node, archive.directory)
    assert [state.path for state in both.segments()] == [archive.path(0), archive.path(1), node.path(2)]
    assert [state.finished for state in both.segments()] == [True, True, False]
    assert both.segment(node.path(1).name) is not None
    assert both.segment("CommitLog-7-1.log") is None
    assert [state.path for state in log(node, tmp_path / "nowhere").segments()] == [node.path(1), node.path(2)]


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    """The first directory must be there."""
    with pytest.raises(ConfigurationError) as caught:
        ShardLog("node1", tmp_path / "nowhere").segments()
    assert str(caught.value) == (
        f"{tmp_path / 'nowhere'}: shard node1: expected a readable directory, found: No such file or directory"
    )


def test_an_index_that_may_not_be_read(node: Node) -> None:
    """One sentence with the file."""
    node.segment(0, [user(0)])
    node.index(0).unlink()
    node.index(0).mkdir()
    with pytest.raises(ConfigurationError) as caught:
        log(node).segments()
    assert str(caught.value) == f"{node.index(0)}: shard node1: expected a readable file, found: Is a directory"


def test_what_moves_while_it_is_looked_at(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment whose log went to the archive before its index was looked at is no spare one: it is read from there."""
    archive = tmp_path / "archive"
    archive.mkdir()
    node.segment(0, [user(0)])
    node.segment(1, [user(1)])
    read_text = Path.read_text

    def late(path: Path, *arguments: str, **options: str) -> str:
        if path == node.index(0) and path.exists():
            node.path(0).rename(archive / node.path(0).name)
            node.index(0).unlink()
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", late)
    states = log(node, archive).segments()
    assert [(state.path, state.finished) for state in states] == [
        (archive / node.path(0).name, True),
        (node.path(1), True),
    ]


def test_the_newest_is_looked_at_first(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cassandra syncs in the order of ids: who sees a later segment's index must see the earlier ones'."""
    node.spare(0)
    node.spare(1)
    read_text = Path.read_text

    def synced(path: Path, *arguments: str, **options: str) -> str:
        if path == node.index(1) and not node.index(0).exists():
            node.segment(0, [user(0)])
            node.segment(1, [user(1)], live=True)
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", synced)
    assert waiting(node) == [0, 1]


def test_files_by_name(node: Node, tmp_path: Path) -> None:
    """Files are taken as given, a directory's segments by id; a path that is not there is named."""
    for number in (1, 0):
        node.segment(number, [user(number)])
    other = tmp_path / "any.bin"
    other.write_bytes(b"x")
    assert segment_files([other, node.directory]) == [other, node.path(0), node.path(1)]
    with pytest.raises(ConfigurationError, match="expected a segment or a directory, found: No such file"):
        segment_files([tmp_path / "nowhere"])
