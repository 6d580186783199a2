"""Whether a counter table is known from its first increment on. The log holds running totals of each writer: a counter
is right when every writer of it is known, and one that wrote before the log at hand begins may never write again.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from cdc_pipeline.schema.table import Table


@dataclass(frozen=True)
class CompleteCounters:
    """What the log tells (`Table.complete_since`), and what the configuration says of tables that match `patterns`."""

    patterns: tuple[str, ...] = ()

    def vouched(self, table: Table) -> bool:
        """Whether the configuration says that the log at hand holds every write to the table."""
        return any(fnmatchcase(table.full_name, pattern) for pattern in self.patterns)

    def refusal(self, table: Table) -> str | None:
        """Why a table is not loaded, whatever the destination; None when it is."""
        if not table.is_counter or table.complete_since is not None or self.vouched(table):
            return None
        return (
            "its counters began at a number that the log at hand does not tell: expected its CREATE with cdc = true in "
            "the log, and CDC on ever since (see source.complete_counters)"
        )

    def note(self, table: Table) -> str | None:
        """Since when a table that is loaded is known; None when it has no counters."""
        if not table.is_counter:
            return None
        if table.complete_since is not None:
            return f"counters are complete since its CREATE, at {table.complete_since}"
        return "counters are complete because source.complete_counters says so"
