"""The disk guard: how full a node's CDC space is, how fast it fills, and when Cassandra would act on it (3.7)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cdc_pipeline.capture.segments import index_path
from cdc_pipeline.change import parse_segment_name

_LARGEST_DEFAULT = 4096 * 2**20
_SHARE_OF_VOLUME = 8
_WINDOWS = (60.0, 600.0, 3600.0)
"""Seconds; the fastest of them counts, so that a burst is seen at once and a steady trickle too."""


class Pressure(StrEnum):
    """How full the CDC space is: `full` is where Cassandra refuses writes, or deletes what nobody has read."""

    OK = "ok"
    WARNING = "warning"
    FULL = "full"


@dataclass(frozen=True)
class Limits:
    """`total` is `cdc_total_space` in bytes (None: Cassandra's default, by the volume); a warning comes above `share`
    of it, and when the forecast is below `seconds`. `block_writes` is `cdc_block_writes`; None: not known."""

    total: int | None = None
    block_writes: bool | None = None
    share: float = 0.75
    seconds: float = 3600.0


@dataclass(frozen=True)
class Space:
    """`cdc_raw` now: bytes of every file below it, the limit, bytes per second (None: too few segments to tell), the
    size of the largest segment, and what Cassandra does when it is full."""

    used: int
    total: int
    growth: float | None
    segment: int
    limits: Limits

    @property
    def seconds_left(self) -> float | None:
        """Until the space is full, if it goes on as it went; None when it does not grow or nobody can tell."""
        if not self.growth or self.growth <= 0:
            return None
        return max(0.0, self.total - self.used) / self.growth

    @property
    def pressure(self) -> Pressure:
        """A new segment that does not fit any more is `full`."""
        if self.used + self.segment > self.total:
            return Pressure.FULL
        left = self.seconds_left
        soon = left is not None and left < self.limits.seconds
        return Pressure.WARNING if soon or self.used > self.limits.share * self.total else Pressure.OK

    @property
    def message(self) -> str:
        """One sentence for people."""
        text = f"{_mib(self.used)} of {_mib(self.total)} MiB used"
        if self.growth:
            text += f", {_mib(int(self.growth * 60))} MiB a minute"
        if self.seconds_left is not None:
            text += f", full in {_duration(self.seconds_left)}"
        if self.pressure is Pressure.OK:
            return text
        if self.limits.block_writes is None:
            return text + ": then Cassandra refuses writes to CDC tables, or deletes segments (cdc_block_writes)"
        then = "refuses writes to CDC tables" if self.limits.block_writes else "deletes segments that nobody has read"
        return f"{text}: then Cassandra {then}"


def look(directory: Path, limits: Limits, now: float | None = None) -> Space:
    """Walks `cdc_raw`. `OSError` when it cannot be read."""
    sizes: list[int] = []
    came: list[tuple[float, int]] = []
    for path, size, changed in _files(directory):
        sizes.append(size)
        if parse_segment_name(path.name) is not None:
            came.append((_finished_at(path, changed), size))
    segment = max((size for _, size in came), default=0)
    growth = _growth(sorted(came), time.time() if now is None else now)
    return Space(sum(sizes), limits.total or default_total(directory), growth, segment, limits)


def default_total(directory: Path) -> int:
    """Cassandra's own default of `cdc_total_space`: the smaller of 4096 MiB and an eighth of the volume, bytes."""
    found = os.statvfs(directory)
    return min(_LARGEST_DEFAULT, found.f_blocks * found.f_frsize // _SHARE_OF_VOLUME)


def _growth(came: list[tuple[float, int]], now: float) -> float | None:
    """Bytes per second of what came and is still there; the first of a window only says when it began."""
    rates = []
    for window in _WINDOWS:
        recent = [(at, size) for at, size in came if now - window <= at <= now]
        if len(recent) > 1:
            rates.append(sum(size for _, size in recent[1:]) / max(1.0, now - recent[0][0]))
    if rates:
        return max(rates)
    return 0.0 if len(came) > 1 else None


def _finished_at(segment: Path, changed: float) -> float:
    try:
        return index_path(segment).stat().st_mtime
    except OSError:
        return changed  # 3.11, or a spare


def _files(directory: Path) -> Iterator[tuple[Path, int, float]]:
    """Every file below a directory: Cassandra counts them all, whoever put them there."""
    with os.scandir(directory) as entries:
        for entry in list(entries):
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    found = entry.stat(follow_symlinks=False)
                    yield Path(entry.path), found.st_size, found.st_mtime
            except FileNotFoundError:
                continue  # it left meanwhile


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}".replace(",", " ")


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
