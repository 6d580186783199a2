"""From the kernel's columns to a `ChangeBatch`, without a copy."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

import pyarrow as pa

from cdc_pipeline.change import Bound, ChangeBatch
from cdc_pipeline.decode.section_cy import TableColumns
from cdc_pipeline.schema import Table

_ROW_NUMBERS = [
    ("kind", pa.uint8()),
    ("update", pa.int64()),
    ("position", pa.int64()),
    ("live_ts", pa.int64()),
    ("live_ttl", pa.int32()),
    ("live_local", pa.uint32()),
    ("del_ts", pa.int64()),
    ("del_local", pa.uint32()),
    ("cell_end", pa.int32()),
]
_CELLS = pa.schema(
    [
        ("column", pa.int32()),
        ("kind", pa.uint8()),
        ("ts", pa.int64()),
        ("ttl", pa.int32()),
        ("local", pa.uint32()),
        ("path", pa.binary()),
        ("value", pa.binary()),
    ]
)


@lru_cache(maxsize=1024)
def _rows(keys: int, clusterings: int) -> pa.Schema:
    strings = [f"key{i}" for i in range(keys)] + [f"ck{i}" for i in range(clusterings)]
    return pa.schema([*_ROW_NUMBERS, *((name, pa.binary()) for name in strings)])


def take_batch(table: Table, segment: str, columns: TableColumns, captured_at: dt.datetime) -> ChangeBatch:
    """What waits in a table's columns, which are empty then."""
    rows, cells, ranges = columns.take(_rows(len(table.partition_key), len(table.clustering)), _CELLS)
    return ChangeBatch(
        table=table,
        segment=segment,
        rows=rows,
        cells=cells,
        ranges=tuple(
            (Bound(tuple(start), start_inclusive), Bound(tuple(end), end_inclusive))
            for start, start_inclusive, end, end_inclusive in ranges
        ),
        captured_at=captured_at,
    )
