"""What the log does not say: tables by id, their columns, types and dropped columns.

`table.py` one table; `snapshot.py` the rows of `system_schema` in a file, with earlier snapshots; `selection.py`
which tables are loaded.
"""

from cdc_pipeline.schema.selection import TableFilter
from cdc_pipeline.schema.snapshot import SYSTEM_KEYSPACES, Schema, load_schema, tables_of
from cdc_pipeline.schema.table import Column, ColumnKind, DroppedColumn, Table

__all__ = [
    "SYSTEM_KEYSPACES",
    "Column",
    "ColumnKind",
    "DroppedColumn",
    "Schema",
    "Table",
    "TableFilter",
    "load_schema",
    "tables_of",
]
