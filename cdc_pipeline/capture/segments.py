"""One segment in `cdc_raw` and its index (format document, 3.4 and 3.8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.change import SegmentName
from cdc_pipeline.errors import CdcIndexError

_FIRST_WITH_INDEX = 7
_RETRY_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Cassandra truncates an index, then writes it: the first looks again come at once, so that a follower is not late."""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment file; `durable` is the logical position up to which it may be read (None = all of it), `finished`
    whether Cassandra writes it no more; `problem` is an index that cannot be read; `written` the number of an index;
    `settled` a segment that counts as finished although its index does not say so."""

    path: Path
    name: SegmentName
    size: int
    durable: int | None
    finished: bool
    problem: CdcIndexError | None = None
    written: int | None = None
    settled: bool = False

    @property
    def end(self) -> int:
        """The logical position behind what is durable; the file's size stands for it where no index says it."""
        return self.size if self.written is None else self.written

    @property
    def has_changes(self) -> bool:
        """Whether there may be CDC data: 4.0 and later write an index as soon as there is."""
        return self.finished or self.durable != 0 or self.problem is not None

    @property
    def index(self) -> Path:
        """Where its index lies, or would."""
        return index_path(self.path)


def index_path(segment: Path) -> Path:
    """`CommitLog-7-1_cdc.idx` of `CommitLog-7-1.log`."""
    return segment.with_name(segment.name.removesuffix(".log") + "_cdc.idx")


def read_segment(path: Path, name: SegmentName) -> SegmentState | None:
    """The state of a segment; None when it vanished meanwhile.

    3.11 has no index: presence is the only sign that a segment is finished. From 4.0 on a segment without an index
    holds no CDC data so far.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    if name.version < _FIRST_WITH_INDEX:
        return SegmentState(path, name, size, None, finished=True)
    index = index_path(path)
    text = ""
    for pause in (*_RETRY_SECONDS, None):
        try:
            text = index.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            # whoever removes a finished segment takes the log first: without a second look it would pass for a spare
            return SegmentState(path, name, size, 0, finished=False) if path.exists() else None
        offset, _, rest = text.partition("\n")
        if offset.isdecimal():
            finished = rest.strip() == "COMPLETED"
            return SegmentState(path, name, size, None if finished else int(offset), finished, written=int(offset))
        if pause is not None:
            time.sleep(pause)
    found = "nothing" if not text else f"{len(text)} characters that are no number"
    problem = CdcIndexError(index.name, 0, "an offset", expected="decimal digits", found=found)
    return SegmentState(path, name, size, 0, finished=False, problem=problem)


def archived_segment(path: Path, name: SegmentName, end: int | None) -> SegmentState | None:
    """The state of a segment in the archive, where presence means finished; None when it was removed meanwhile.

    `end` is its last position, where a manifest tells it.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    return SegmentState(path, name, size, None, finished=True, written=end)
