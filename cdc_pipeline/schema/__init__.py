"""What the log does not say: tables by id, their columns, types and dropped columns.

`table.py` one table; `snapshot.py` the rows of `system_schema` in a file, with earlier snapshots; `system.py` these
rows as they change; `changes.py` two states compared; `selection.py` which tables are loaded; `counters.py` which
counter tables are known from their first increment on.
"""

from cdc_pipeline.schema.changes import ChangeKind
from cdc_pipeline.schema.counters import CompleteCounters
from cdc_pipeline.schema.selection import TableFilter
from cdc_pipeline.schema.snapshot import SYSTEM_KEYSPACES, Schema, load_schema, schema_of, tables_of
from cdc_pipeline.schema.system import SystemRows
from cdc_pipeline.schema.table import Column, ColumnKind, DroppedColumn, Table

__all__ = [
    "SYSTEM_KEYSPACES",
    "ChangeKind",
    "Column",
    "ColumnKind",
    "CompleteCounters",
    "DroppedColumn",
    "Schema",
    "SystemRows",
    "Table",
    "TableFilter",
    "load_schema",
    "schema_of",
    "tables_of",
]
