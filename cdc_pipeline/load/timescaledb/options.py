"""What a user may choose about hypertables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from cdc_pipeline.schema import TableFilter

_EVERY = TableFilter(())
"""Without a pattern, all."""


@dataclass(frozen=True)
class HypertableOptions:
    """`hypertables` and `history` select tables; `chunk_interval` is what one chunk spans; chunks are compressed
    `compress_after` their end, None: never by us."""

    hypertables: TableFilter = _EVERY
    history: TableFilter | None = None
    chunk_interval: timedelta = timedelta(days=7)
    compress_after: timedelta | None = None

    def keeps_history(self, full_name: str) -> bool:
        """Whether each change of a table is kept, too."""
        return self.history is not None and self.history.matches(full_name)
