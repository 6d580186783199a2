"""The disk guard: what counts, how fast it grows, and when somebody is warned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdc_pipeline.capture import space
from cdc_pipeline.capture.space import Limits, Pressure, Space
from cdc_pipeline_tests.integration.node import Node

MIB = 2**20
NOW = 1_800_000_000.0


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty directory."""
    return Node(tmp_path / "cdc_raw")


def finished(node: Node, number: int, age: float, size: int = MIB) -> None:
    """A finished segment of a size whose index was last written so many seconds ago."""
    with node.path(number).open("wb") as file:
        file.truncate(size)
    node.index(number).write_text("")
    os.utime(node.index(number), (NOW - age, NOW - age))


def test_every_file_counts(node: Node) -> None:
    """Also those that somebody put below `cdc_raw`, for Cassandra walks the tree."""
    finished(node, 0, 10)
    (node.directory / "mine").mkdir()
    (node.directory / "mine" / "notes").write_text("x" * 100)
    found = space.look(node.directory, Limits(total=10 * MIB), NOW)
    assert (found.used, found.total, found.segment) == (MIB + 100, 10 * MIB, MIB)


def test_the_default_limit(tmp_path: Path) -> None:
    """The smaller of 4096 MiB and an eighth of the volume."""
    volume = os.statvfs(tmp_path)
    eighth = volume.f_blocks * volume.f_frsize // 8
    assert space.default_total(tmp_path) == min(4096 * MIB, eighth)
    assert space.look(tmp_path, Limits(), NOW).total == min(4096 * MIB, eighth)


def test_growth(node: Node) -> None:
    """Bytes that came in a window, without the first of it, which only says when the window began."""
    for number, age in enumerate((50, 40, 20, 10)):
        finished(node, number, age)
    found = space.look(node.directory, Limits(total=100 * MIB), NOW)
    assert found.growth == pytest.approx(3 * MIB / 50)
    assert found.seconds_left == pytest.approx(96 / 3 * 50)


def test_the_fastest_window_counts(node: Node) -> None:
    """A burst is seen at once, also behind an hour of little."""
    for number, age in enumerate((3500, 2500, 1500, 500, 30, 20, 10)):
        finished(node, number, age)
    found = space.look(node.directory, Limits(total=100 * MIB), NOW)
    assert found.growth == pytest.approx(2 * MIB / 30)


@pytest.mark.parametrize(("ages", "growth"), [((), None), ((10,), None), ((9000, 8000), 0.0), ((-5, -9), 0.0)])
def test_what_cannot_be_told(node: Node, ages: tuple[int, ...], growth: float | None) -> None:
    """One segment tells no speed, and what is old, or from a clock that is ahead, does not grow."""
    for number, age in enumerate(ages):
        finished(node, number, age)
    found = space.look(node.directory, Limits(total=100 * MIB), NOW)
    assert (found.growth, found.seconds_left) == (growth, None)
    assert found.pressure is Pressure.OK


@pytest.mark.parametrize(
    ("used", "growth", "pressure"),
    [
        (10, 0.0, Pressure.OK),
        (76, 0.0, Pressure.WARNING),
        (10, 90 / 3500, Pressure.WARNING),
        (10, 90 / 3700, Pressure.OK),
        (92, 0.0, Pressure.FULL),
        (100, 0.0, Pressure.FULL),
    ],
)
def test_pressure(used: int, growth: float, pressure: Pressure) -> None:
    """A share of the space, the forecast, and a segment that would not fit any more."""
    found = Space(used * MIB, 100 * MIB, growth * MIB, 9 * MIB, Limits())
    assert found.pressure is pressure


@pytest.mark.parametrize(
    ("block_writes", "text"),
    [
        (None, "refuses writes to CDC tables, or deletes segments (cdc_block_writes)"),
        (True, "refuses writes to CDC tables"),
        (False, "deletes segments that nobody has read"),
    ],
)
def test_what_people_are_told(block_writes: bool | None, text: str) -> None:
    """How full, how fast, how long, and what Cassandra does then."""
    found = Space(90 * MIB, 100 * MIB, MIB / 60, 1, Limits(block_writes=block_writes))
    assert found.message == (f"90.0 of 100.0 MiB used, 1.0 MiB a minute, full in 10 minutes: then Cassandra {text}")
    assert Space(MIB, 100 * MIB, None, 1, Limits()).message == "1.0 of 100.0 MiB used"
