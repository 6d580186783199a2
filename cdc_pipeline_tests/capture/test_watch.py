"""Waiting for a change: woken by the kernel, by polling where it cannot tell, and never for long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from cdc_pipeline.capture import ShardLog, folder, watch, watching
from cdc_pipeline_tests.integration.node import Node, user


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty directory."""
    return Node(tmp_path / "cdc_raw")


def descriptors() -> int:
    """Open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def waited(changes: watch.Changes, timeout: float | None = None) -> float:
    """Seconds that a wait took."""
    began = time.monotonic()
    changes.wait(timeout=timeout)
    return time.monotonic() - began


def test_an_index_update_wakes(node: Node) -> None:
    """What Cassandra does to an index ends a wait at once, not at the next look."""
    node.segment(0, [user(0)], live=True)
    with watching(ShardLog("node1", node.directory)) as changes:
        assert changes.notified
        for text in ("100", "200\nCOMPLETED"):
            timer = threading.Timer(0.1, node.index(0).write_text, [text])
            timer.start()
            assert waited(changes) < 0.6
            timer.join()


def test_what_changes_during_a_look_is_not_missed(node: Node) -> None:
    """A change between two waits ends the second at once."""
    with watching(ShardLog("node1", node.directory)) as changes:
        waited(changes, 0.05)
        node.segment(0, [user(0)], live=True)
        time.sleep(0.1)
        assert waited(changes) < 0.05


def test_reading_does_not_wake(node: Node) -> None:
    """Our own looks are no changes: a follower that wakes itself would never rest."""
    node.segment(0, [user(0)], live=True)
    source = ShardLog("node1", node.directory)
    with watching(source) as changes:
        waited(changes, 0.05)
        for _ in range(3):
            source.segments()
            node.path(0).read_bytes()
            assert waited(changes, 0.1) >= 0.1


def test_it_looks_anyway(node: Node) -> None:
    """Without any notification a wait ends within a second."""
    with watching(ShardLog("node1", node.directory)) as changes:
        assert 0.9 < waited(changes) < 2


def test_asked_to_stop(node: Node) -> None:
    """A wait ends soon after it is asked to."""
    asked = threading.Event()
    timer = threading.Timer(0.1, asked.set)
    with watching(ShardLog("node1", node.directory)) as changes:
        timer.start()
        began = time.monotonic()
        changes.wait(asked)
        assert time.monotonic() - began < 0.6
    timer.join()


def test_polling_when_asked_for(node: Node) -> None:
    """The configured interval is the wait."""
    with watching(ShardLog("node1", node.directory, poll_seconds=0.03)) as changes:
        assert not changes.notified
        assert 0.02 < waited(changes) < 0.3


def test_polling_where_nothing_can_be_watched(tmp_path: Path) -> None:
    """A directory that is missing, or a kernel without a watch left, is polled; nothing stays behind."""
    before = descriptors()
    Node(tmp_path / "there")
    sources = [ShardLog("a", tmp_path / "there"), ShardLog("b", tmp_path / "nowhere")]
    with watching(*sources) as changes:
        assert not changes.notified
        assert waited(changes) < 0.3
    assert descriptors() == before


def test_nothing_stays_behind(node: Node) -> None:
    """The kernel's watch ends with the block."""
    before = descriptors()
    with watching(ShardLog("node1", node.directory)):
        assert descriptors() == before + 1
    assert descriptors() == before


def test_a_directory_that_is_made_anew(node: Node) -> None:
    """Removed and made again, it is watched again."""
    with watching(ShardLog("node1", node.directory)) as changes:
        node.directory.rmdir()
        waited(changes)
        node.directory.mkdir()
        waited(changes, 0.01)
        timer = threading.Timer(0.1, node.index(0).write_text, ["100"])
        timer.start()
        assert waited(changes) < 0.6
        timer.join()


MOUNTS = """\
21 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:21 / /mnt/nfs rw,relatime - nfs4 server:/export rw
23 22 0:22 / /mnt/nfs/local\\040disk rw - xfs /dev/vdb rw
24 21 0:23 / /home/u/share rw - fuse.sshfs server: rw
"""


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("/var/lib/cdc_raw", False),
        ("/mnt/nfs/cdc_raw", True),
        ("/mnt/nfs/local disk/cdc_raw", False),
        ("/mnt/nfsx", False),
        ("/home/u/share", True),
    ],
)
def test_network_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, remote: bool) -> None:
    """The mount that holds a directory says whether another machine may write there unnoticed."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(folder, "_MOUNTS", mounts)
    assert folder.is_remote(Path(path)) is remote


def test_a_network_file_system_is_polled(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """There notifications would only tell of writers on this machine."""
    monkeypatch.setattr(watch, "is_remote", lambda _: True)
    with watching(ShardLog("node1", node.directory)) as changes:
        assert not changes.notified
