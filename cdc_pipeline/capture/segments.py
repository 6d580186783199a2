"""One segment in `cdc_raw` and its index (format document, 3.4 and 3.8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.change import SegmentName
from cdc_pipeline.errors import CdcIndexError

_FIRST_WITH_INDEX = 7
_RETRIES, _RETRY_SECONDS = 5, 0.05


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment file; `durable` is the logical position up to which it may be read (None = all of it), `finished`
    whether Cassandra writes it no more; `problem` is an index that cannot be read; `written` the number of an index."""

    path: Path
    name: SegmentName
    size: int
    durable: int | None
    finished: bool
    problem: CdcIndexError | None = None
    written: int | None = None

    @property
    def end(self) -> int:
        """The logical position behind what is durable; the file's size stands for it where no index says it."""
        return self.size if self.written is None else self.written

    @property
    def has_changes(self) -> bool:
        """Whether there may be CDC data: 4.0 and later write an index as soon as there is."""
        return self.finished or self.durable != 0 or self.problem is not None


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
    index = path.with_name(path.name.removesuffix(".log") + "_cdc.idx")
    for attempt in range(_RETRIES):
        try:
            text = index.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return SegmentState(path, name, size, 0, finished=False)
        offset, _, rest = text.partition("\n")
        if offset.isdecimal():
            finished = rest.strip() == "COMPLETED"
            return SegmentState(path, name, size, None if finished else int(offset), finished, written=int(offset))
        if attempt + 1 < _RETRIES:
            time.sleep(_RETRY_SECONDS)  # Cassandra truncates the index, then writes it
    found = "nothing" if not text else f"{len(text)} characters that are no number"
    problem = CdcIndexError(index.name, 0, "an offset", expected="decimal digits", found=found)
    return SegmentState(path, name, size, 0, finished=False, problem=problem)
