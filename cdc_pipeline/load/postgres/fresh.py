"""Which batches are worth a plain COPY into their state table: rows that are most likely all new.

A plain COPY costs the server half of what a merge costs, and needs no staging table. It fails as a whole when one key
is there already, inside a savepoint, and the batch is merged then. So it is tried where every row is an INSERT, and
after each failure less often.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_LONGEST_PAUSE = 64


@dataclass
class FreshRows:
    """Per state table how many batches to merge before the next try; each failure in a row doubles the pause."""

    _pause: dict[str, int] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)

    def worth_a_try(self, table: str) -> bool:
        """Whether to try with this batch."""
        left = self._left.get(table, 0)
        self._left[table] = max(0, left - 1)
        return left == 0

    def succeeded(self, table: str) -> None:
        """All rows were new."""
        self._pause.pop(table, None)

    def failed(self, table: str) -> None:
        """Some row was there already."""
        pause = min(_LONGEST_PAUSE, 2 * self._pause.get(table, 1))
        self._pause[table] = self._left[table] = pause
