"""Which tables are loaded: globs over `keyspace.table`; `!` takes away, wherever it stands in the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cdc_pipeline.schema.snapshot import SYSTEM_KEYSPACES
from cdc_pipeline.schema.table import Table


@dataclass(frozen=True, slots=True)
class TableFilter:
    """`patterns` None: every table with `cdc = true`. Views and Cassandra's own keyspaces are never loaded."""

    patterns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, patterns: Sequence[str] | None) -> TableFilter:
        """A filter of a list as it stands in the configuration."""
        return cls(None if patterns is None else tuple(patterns))

    def selects(self, table: Table) -> bool:
        """Whether changes of this table are loaded; the others are filtered by configuration."""
        if table.is_view or table.keyspace in SYSTEM_KEYSPACES or not table.cdc:
            return False
        return self.patterns is None or self.matches(table.full_name)

    def matches(self, full_name: str) -> bool:
        """Whether the patterns name it; without a positive one, everything that no `!` takes away."""
        patterns = self.patterns if self.patterns is not None else ()
        taken_away = (pattern[1:] for pattern in patterns if pattern.startswith("!"))
        if any(fnmatchcase(full_name, pattern) for pattern in taken_away):
            return False
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        return not wanted or any(fnmatchcase(full_name, pattern) for pattern in wanted)
