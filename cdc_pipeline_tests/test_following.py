"""A log read while it is written: every look gives what is new, nothing twice, and at the end nothing is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline import following
from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import Decoder, dump_lines
from cdc_pipeline.following import LogReader
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema, Table
from cdc_pipeline_tests.capture.sweeper import archivist as sweeper
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import FIRST, TABLES, Node, user
from cdc_pipeline_tests.recordings import NAMES, Recording, opener

STEPPED = [name for name in NAMES if name.startswith(("live-", "crash-"))]
"""crash-5.0 lies beside the tests; live-5.0 only where all recordings are."""


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty directory."""
    return Node(tmp_path / "cdc_raw")


class Follower:
    """Reads a directory again and again and keeps the lines in the order they came."""

    def __init__(self, directory: Path, schema: Schema, archive: Path | None = None) -> None:
        self.source = ShardLog("node1", directory, archive)
        self.told: list[str] = []
        self.lines: list[bytes] = []
        self.damage: list[str] = []
        self.position = START
        decoder = Decoder(schema, lambda table: table.keyspace not in SYSTEM_KEYSPACES)
        self.log = LogReader(self.source, decoder, self.told.append)

    def look(self) -> int:
        """One look; returns how many lines came."""
        before = len(self.lines)
        for batch in self.log.new(self.position):
            assert batch.position > self.position
            self.position = batch.position
            self.lines += [line.encode() for line in dump_lines(batch.tables)]
            self.damage += [str(one.error) for one in batch.damage]
        return len(self.lines) - before


def schema_of(*tables: Table) -> Schema:
    """A schema of the node's tables."""
    return Schema(tables or TABLES)


def states(recording: Recording) -> list[Path]:
    """The folders of a recording that show its `cdc_raw` at one time after the other; of a step only what changed."""
    steps = sorted((recording.path / "steps").glob("*")) if (recording.path / "steps").is_dir() else []
    crash = [recording.path / name for name in ("before_restart", "after_restart")]
    return [*steps, *(folder for folder in crash if folder.is_dir()), recording.path / "cdc_raw"]


@pytest.mark.parametrize("name", STEPPED)
def test_every_state_gives_a_prefix(open_recording: Callable[[str], Recording], tmp_path: Path, name: str) -> None:
    """Each recorded state of a node gives a prefix of the final dump, and the last one all of it."""
    recording = open_recording(name)
    raw = tmp_path / "cdc_raw"
    raw.mkdir()
    follower = Follower(raw, recording.schema)
    wanted = recording.main.oracle_lines()
    came = []
    for state in states(recording):
        if name.startswith("crash-"):  # whole copies: what is gone is gone
            for path in raw.iterdir():
                path.unlink()
        for path in state.glob("CommitLog-*"):
            shutil.copyfile(path, raw / path.name)
        came.append(follower.look())
        assert follower.lines == wanted[: len(follower.lines)]
        assert follower.look() == 0
    assert follower.lines == wanted
    assert (follower.damage, follower.told) == ([], [])
    assert sum(count > 0 for count in came) > 1


@pytest.mark.parametrize("kind", ["plain", "compressed"])
@pytest.mark.parametrize("polling", [False, True])
def test_a_writer_that_is_never_atomic(tmp_path: Path, kind: str, polling: bool) -> None:
    """What a follower got while a process wrote is what a reader of the finished files gets, in the same order."""
    raw = tmp_path / "cdc_raw"
    raw.mkdir()
    follower = Follower(raw, schema_of())
    source = ShardLog("node1", raw, poll_seconds=0.005 if polling else None)
    arguments = [sys.executable, "-m", "cdc_pipeline_tests.live_writer", str(raw), kind, "7", "150"]
    looks = 0
    with subprocess.Popen(arguments) as writer, watching(source) as changes:
        assert changes.notified is not polling
        ends = time.monotonic() + 60
        while writer.poll() is None and time.monotonic() < ends:
            looks += follower.look() > 0
            changes.wait()
    assert writer.returncode == 0
    follower.look()
    wanted = Follower(raw, schema_of())
    for _ in range(2):
        wanted.look()
    assert follower.lines == wanted.lines
    assert len(follower.lines) > 1000
    assert looks > 20
    assert (follower.damage, follower.told) == ([], [])


def live(node: Node, *sections: list[bytes]) -> tuple[bytearray, list[int]]:
    """A live segment of these sections and where its markers lie; all of it is durable by its index."""
    node.segment(0, *sections, live=True)
    data = bytearray(node.path(0).read_bytes())
    at, places = len(en.header(7, FIRST)), []
    while int.from_bytes(data[at : at + 4], "big"):
        places.append(at)
        at = int.from_bytes(data[at : at + 4], "big")
    return data, places


@pytest.mark.parametrize("half", ["no CRC", "nothing", "beyond the file"])
def test_a_marker_that_is_not_whole_yet(node: Node, half: str) -> None:
    """What an index calls durable and is not there yet is waited for, without a word; then it is read."""
    data, (_, second) = live(node, [user(1)], [user(2), user(3)])
    part = bytearray(data)
    if half == "no CRC":
        part[second + 4 : second + 8] = bytes(4)
    elif half == "nothing":
        part[second : second + 8] = bytes(8)
    else:
        del part[second + 20 :]
    node.path(0).write_bytes(part)
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    assert follower.look() == 0
    node.path(0).write_bytes(data)
    assert follower.look() == 2
    assert (follower.damage, follower.told) == ([], [])


def test_bytes_that_never_come(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that goes on promising what is not there is told once; the lane stays before it."""
    data, (_, second) = live(node, [user(1)], [user(2)])
    data[second : second + 8] = bytes(8)
    node.path(0).write_bytes(data)
    monkeypatch.setattr(following, "_PATIENCE_SECONDS", 0.0)
    follower = Follower(node.directory, schema_of())
    for _ in range(4):
        follower.look()
    durable = node.index(0).read_text().strip()
    wanted = f"segment {node.path(0).name}: expected whole sections up to {durable} by its index, found them up to "
    assert follower.told == [wanted + str(second)]
    assert follower.position == Position(node.path(0).name, second)


def test_a_crash_tail(node: Node) -> None:
    """The same half marker in a finished segment is the end of it, and said."""
    data, (_, second) = live(node, [user(1)], [user(2)])
    data[second + 4 : second + 8] = bytes(4)
    node.path(0).write_bytes(data)
    node.index(0).write_text(f"{len(data)}\nCOMPLETED")
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    (damage,) = follower.damage
    assert "marker CRC" in damage


def test_a_replayed_compressed_segment(node: Node) -> None:
    """After a replay its index holds the file's length, far below the logical end: COMPLETED says that all is read."""
    sections = [b"".join(en.entry(user(at + number, "x" * 200)) for number in range(50)) for at in range(0, 500, 50)]
    parameters = {"compressionClass": "LZ4Compressor"}
    data = en.segment(sections, segment_id=FIRST, parameters=parameters, body=en.compressed("LZ4Compressor"), tail=b"")
    node.path(0).write_bytes(data)
    node.index(0).write_text(f"{len(data)}\nCOMPLETED")
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 500
    assert follower.position.offset > 2 * len(data)
    assert follower.source.backlog(follower.position) == 0
    assert (follower.look(), follower.damage, follower.told) == (0, [], [])


def test_corruption_below_the_durable_offset(node: Node) -> None:
    """A marker with another CRC is no half-written one: it is damage, live too."""
    data, (_, second) = live(node, [user(1)], [user(2)])
    data[second + 5] ^= 0x10
    node.path(0).write_bytes(data)
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    (damage,) = follower.damage
    assert "marker CRC" in damage


def test_an_index_that_is_empty_for_a_while(node: Node) -> None:
    """Truncated and not yet written: nothing is read, and nothing behind it; then everything."""
    node.segment(0, [user(1)], index="")
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 0
    node.index(0).write_text(f"{node.path(0).stat().st_size - 8}")
    assert follower.look() == 1


def test_a_spare_segment_may_vanish(node: Node) -> None:
    """A segment without an index is not read and not missed."""
    node.spare(0)
    node.segment(1, [user(1)], live=True)
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    node.path(0).unlink()
    assert follower.look() == 0
    assert follower.told == []


def test_a_segment_that_vanishes_unread(node: Node) -> None:
    """One that was seen with changes and is gone before any of it was read is lost, and that is said once."""
    node.segment(0, [user(0)], live=True)
    node.segment(1, [user(1)])
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    node.path(1).unlink()
    node.index(1).unlink()
    for _ in range(3):
        follower.look()
    (told,) = follower.told
    assert told == f"segment {node.path(1).name}: lost: it had changes, and vanished before any of it was read"


def test_a_finished_segment_that_was_read_may_vanish(node: Node) -> None:
    """Somebody else frees the space: what was read is not missed."""
    node.segment(0, [user(0)])
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    node.path(0).unlink()
    node.index(0).unlink()
    assert follower.look() == 0
    assert follower.told == []


def test_what_was_read_ahead_is_missed(node: Node) -> None:
    """A finished segment that was read, while nothing of it is committed, is lost when it vanishes."""
    node.segment(0, [user(0)])
    follower = Follower(node.directory, schema_of())
    assert [batch.segment for batch in follower.log.new(START)] == [node.path(0).name]
    node.path(0).unlink()
    node.index(0).unlink()
    assert follower.look() == 0
    assert follower.told == [
        f"segment {node.path(0).name}: lost: it had changes, and vanished before any of it was read"
    ]


def test_a_segment_that_moves_to_the_archive_while_it_is_read(node: Node, tmp_path: Path) -> None:
    """Moved between the look at the directory and the opening of the file, it is read where it lies now."""
    archive = tmp_path / "archive"
    archive.mkdir()
    node.segment(0, [user(0)])
    node.segment(1, [user(1)])
    follower = Follower(node.directory, schema_of(), archive)
    batches = follower.log.new(START)
    first = next(batches)
    node.path(1).rename(archive / node.path(1).name)
    node.index(1).unlink()
    assert [first.segment, *(batch.segment for batch in batches)] == [node.path(0).name, node.path(1).name]
    assert follower.told == []


def test_several_restarts(node: Node) -> None:
    """Ids jump at each restart; a segment left unfinished by a killed process is read to its end once it is settled."""
    node.segment(0, [user(0)], live=True)
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    for number in (100_000, 300_000):
        for index in node.directory.glob("*.idx"):
            os.utime(index)
        node.segment(number, [user(number)], live=True)
        assert follower.look() == 0
        node.settle()
        assert follower.look() == 1
    assert follower.told == []


def test_a_replayed_segment_comes_again(node: Node) -> None:
    """Consumed, removed, and linked again by a replay with its physical length: nothing is read twice."""
    path = node.segment(0, [user(0)])
    data = path.read_bytes()
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    node.path(0).unlink()
    node.index(0).unlink()
    assert follower.look() == 0
    path.write_bytes(data + bytes(1000))
    node.index(0).write_text(f"{len(data) + 1000}\nCOMPLETED")
    node.segment(100_000, [user(1)], live=True)
    assert follower.look() == 1
    assert follower.told == []


def test_what_was_read_is_not_walked_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a live segment stays open, and a look reads nothing below the position."""
    sections = [[user(number)] for number in range(30)]
    data, _ = live(node, *sections)
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 30
    assert follower.position.offset == len(data) - 8
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr("os.pread", lambda fd, size, at: read.append(at) or pread(fd, size, at))
    live(node, *sections, [user(99)])
    assert follower.look() == 1
    assert min(read) >= len(data) - 8
    live(node, *sections, [user(99)], [user(100)])
    node.index(0).write_text(f"{node.path(0).stat().st_size}\nCOMPLETED")
    assert follower.look() == 1
    assert min(read) >= len(data) - 8


def test_another_file_of_the_same_name(node: Node) -> None:
    """A live segment whose file was replaced is opened anew: a descriptor of the old one would see nothing more."""
    live(node, [user(1)])
    follower = Follower(node.directory, schema_of())
    assert follower.look() == 1
    node.path(0).unlink()
    live(node, [user(1)], [user(2)])
    assert follower.look() == 1


def test_a_look_that_is_given_up(node: Node) -> None:
    """Whoever stops between two batches finds the rest at the next look, and nothing twice."""
    live(node, [user(1)], [user(2)])
    source = ShardLog("node1", node.directory)
    decoder = Decoder(schema_of(), lambda table: True, max_rows=1)
    log = LogReader(source, decoder, lambda _: None)
    position, lines = START, []
    for _ in range(4):
        batch = next(log.new(position), None)
        if batch is not None:
            position = batch.position
            lines += list(dump_lines(batch.tables))
    log.close()
    assert len(lines) == len(set(lines)) == 2


@pytest.mark.parametrize("kind", ["plain", "compressed"])
def test_a_writer_a_sweeper_and_a_follower(tmp_path: Path, kind: str) -> None:
    """While segments are written, followed and moved away by another thread, every change comes once and in order."""
    raw, archive = tmp_path / "cdc_raw", tmp_path / "archive"
    raw.mkdir()
    follower = Follower(raw, schema_of(), archive)
    stop = threading.Event()
    moved: list[str] = []

    def sweep() -> None:
        while not stop.is_set():
            moved.extend(taken.segment for taken in sweeper(raw, archive).sweep().taken)

    thread = threading.Thread(target=sweep)
    arguments = [sys.executable, "-m", "cdc_pipeline_tests.live_writer", str(raw), kind, "11", "240"]
    with subprocess.Popen(arguments) as writer, watching(follower.source) as changes:
        thread.start()
        try:
            ends = time.monotonic() + 60
            while writer.poll() is None and time.monotonic() < ends:
                follower.look()
                changes.wait()
        finally:
            stop.set()
            thread.join()
    assert writer.returncode == 0
    follower.look()
    sweeper(raw, archive).sweep()
    wanted = Follower(raw, schema_of(), archive)
    wanted.look()
    assert [path.name for path in raw.iterdir()] == [f"CommitLog-7-{FIRST + 20}.log"]  # the spare one
    assert len(moved) >= 10
    assert follower.lines == wanted.lines
    assert len(follower.lines) > 2000
    assert (follower.damage, follower.told) == ([], [])
