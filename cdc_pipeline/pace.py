"""How often a lane commits: where each commit makes files, as ClickHouse's do, many small ones wait for one another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_LOOK_SECONDS = 0.05
"""How often a lane that waits looks at what waits."""


@dataclass
class Pace:
    """At least `seconds` between two commits while less waits than a micro-batch of `rows` or `bytes`; 0: no wait."""

    seconds: float = 0.0
    rows: int = 1
    bytes: int = 1
    _last: float = field(default=float("-inf"), init=False)
    _log_bytes: int = field(default=0, init=False)
    _changes: int = field(default=0, init=False)

    def committed(self, log_bytes: int, changes: int) -> None:
        """Notes a commit of so many changes, and how much of the log they took."""
        self._last = time.monotonic()
        self._log_bytes += log_bytes
        self._changes += changes

    def wait(self, behind: Callable[[], int], should_stop: Callable[[], bool]) -> bool:
        """Waits until a commit is due, or enough is `behind` (bytes of the log) for a whole micro-batch.

        False, without waiting to the end, when nothing is there to commit or the lane was asked to stop.
        """
        while (left := self._last + self.seconds - time.monotonic()) > 0:
            waiting = behind()
            if waiting >= self._full:
                return True
            if not waiting or should_stop():
                return False
            time.sleep(min(left, _LOOK_SECONDS))
        return True

    @property
    def _full(self) -> float:
        """Bytes of the log that make a whole micro-batch, as changes were so far."""
        return min(self.bytes, self.rows * self._log_bytes / self._changes) if self._changes else self.bytes
