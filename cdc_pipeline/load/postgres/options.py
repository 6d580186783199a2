"""What a user may choose about a PostgreSQL destination, besides its types."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_pipeline.schema import TableFilter


@dataclass(frozen=True)
class PostgresOptions:
    """`surfaces` selects the tables that users get as tables, None: none. `keep_columns`: dropped columns are shown
    on; `drop_tables`: what a dropped table held is removed. `synchronous_commit` is PostgreSQL's; None: the server's.
    """

    surfaces: TableFilter | None = None
    keep_columns: bool = False
    drop_tables: bool = False
    synchronous_commit: str | None = None

    def is_table(self, full_name: str) -> bool:
        """Whether users get a table."""
        return self.surfaces is not None and self.surfaces.matches(full_name)
