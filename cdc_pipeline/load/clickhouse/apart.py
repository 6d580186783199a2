"""Whether the rows of a batch are sent as they come, for the server to merge, or merged to one for each key before.

Sorting and merging a batch here costs about as much as all else that is done to it, and the server merges anyway. Where
keys repeat within a batch it saves the server what it would have to read; so now and then a batch is merged, to see.
A masked value column is always merged here: two writes of one microsecond are told apart by what they were, not by
their masks.
"""

from __future__ import annotations

from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskedBatch

_EVERY = 16
_REPEATED = 0.25
"""The share of changes that meet another of their key from which on merging is worth it."""


class Apart:
    """What is known of the batches of each table."""

    def __init__(self) -> None:
        self._batches: dict[Table, int] = {}
        self._repeats: dict[Table, bool] = {}

    def takes(self, plan: TablePlan) -> bool:
        """Whether the next batch of a table is sent as it comes."""
        if any(value.masked for value in (*plan.static, *plan.regular)):
            return False
        count = self._batches[plan.table] = self._batches.get(plan.table, 0) + 1
        return not self._repeats.get(plan.table, False) and count % _EVERY != 0

    def saw(self, plan: TablePlan, masked: MaskedBatch) -> None:
        """Takes note of a batch, where it was merged."""
        merged = masked.merged
        if merged.apart:
            return
        shared = len(merged.rows.shared) + len(merged.static.shared)
        self._repeats[plan.table] = shared > _REPEATED * max(merged.changes, 1)
