"""Whether a counter table is known from its first increment on. The log holds running totals of each writer: a counter
is right when every writer of it is known, and one that wrote before the log at hand begins may never write again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
            "its counters began at numbers that the log at hand does not tell: expected the CREATE with cdc = true in "
            "it, and CDC on ever since (or source.complete_counters)"
        )

    def notes(self, table: Table, places: Mapping[str, str | None]) -> Iterator[str]:
        """Since when the counters of a table that is loaded are known, by shard (`places` of its CREATE)."""
        if self.vouched(table):
            yield "counters: complete because source.complete_counters says so"
        else:
            yield from (f"counters: shard {name}: complete since CREATE at {at}" for name, at in places.items() if at)

    def warnings(self, table: Table, places: Mapping[str, str | None]) -> Iterator[str]:
        """The shards whose log does not tell, from which a table is not loaded that others load."""
        if not self.vouched(table):
            yield from (
                f"counters: not loaded from shard {name}: no CREATE in its log"
                for name in places
                if places[name] is None
            )
