"""From the kernel's columns to a `ChangeBatch`, without a copy. Arrow is loaded when a batch is first looked at."""

from __future__ import annotations

import datetime as dt
from functools import cache, partial
from typing import TYPE_CHECKING

from cdc_pipeline.change import Bound, ChangeBatch
from cdc_pipeline.decode.section_cy import Columns, TableColumns
from cdc_pipeline.schema import Table

if TYPE_CHECKING:
    import pyarrow as pa


def take_batch(table: Table, segment: str, columns: TableColumns, captured_at: dt.datetime) -> ChangeBatch:
    """What waits in a table's columns, which are empty then."""
    rows, cells, ranges = columns.take()
    return ChangeBatch(
        table=table,
        segment=segment,
        make_rows=partial(_rows, rows, len(table.partition_key), len(table.clustering)),
        make_cells=partial(_cells, cells),
        ranges=tuple(
            (Bound(tuple(start), start_inclusive), Bound(tuple(end), end_inclusive))
            for start, start_inclusive, end, end_inclusive in ranges
        ),
        captured_at=captured_at,
    )


def _rows(columns: Columns, keys: int, clusterings: int) -> pa.RecordBatch:
    return columns.record_batch(_row_schema(keys, clusterings))


def _cells(columns: Columns) -> pa.RecordBatch:
    return columns.record_batch(_cell_schema())


@cache
def _row_schema(keys: int, clusterings: int) -> pa.Schema:
    import pyarrow as pa

    numbers = [
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
    strings = [f"key{i}" for i in range(keys)] + [f"ck{i}" for i in range(clusterings)]
    return pa.schema([*numbers, *((name, pa.binary()) for name in strings)])


@cache
def _cell_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
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
