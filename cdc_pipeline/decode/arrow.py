"""From the kernel's buffers to a `ChangeBatch`, without a copy."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import pyarrow as pa

from cdc_pipeline.change import Bound, ChangeBatch
from cdc_pipeline.schema import Table

Strings = tuple[pa.Buffer | None, pa.Buffer, pa.Buffer, int]
"""Validity, offsets, data and number of nulls of a binary array."""

_ROW_NUMBERS = {
    "kind": pa.uint8(),
    "update": pa.int64(),
    "position": pa.int64(),
    "live_ts": pa.int64(),
    "live_ttl": pa.int32(),
    "live_local": pa.uint32(),
    "del_ts": pa.int64(),
    "del_local": pa.uint32(),
    "cell_end": pa.int32(),
}
_CELL_NUMBERS = {
    "column": pa.int32(),
    "cell_kind": pa.uint8(),
    "cell_ts": pa.int64(),
    "cell_ttl": pa.int32(),
    "cell_local": pa.uint32(),
}
_CELLS = pa.schema(
    [(name.removeprefix("cell_"), kind) for name, kind in _CELL_NUMBERS.items()]
    + [("path", pa.binary()), ("value", pa.binary())]
)


@lru_cache(maxsize=1024)
def _row_schema(keys: int, clusterings: int) -> pa.Schema:
    strings = [f"key{i}" for i in range(keys)] + [f"ck{i}" for i in range(clusterings)]
    return pa.schema([*_ROW_NUMBERS.items(), *((name, pa.binary()) for name in strings)])


def binary_array(strings: Strings | None, count: int) -> pa.Array:
    """An Arrow binary array of `count` strings; without buffers all are null."""
    if strings is None:
        return pa.nulls(count, pa.binary())
    validity, offsets, data, nulls = strings
    return pa.Array.from_buffers(pa.binary(), count, [validity, offsets, data], null_count=nulls)


def change_batch(table: Table, segment: str, taken: dict[str, Any], captured_at: dt.datetime) -> ChangeBatch:
    """The batch of what a `TableColumns.take()` returned."""
    count, cells = taken["rows"], taken["cells"]
    rows = _numbers(_ROW_NUMBERS, taken, count)
    rows += [binary_array(strings, count) for strings in (*taken["keys"], *taken["clustering"])]
    cell_columns = _numbers(_CELL_NUMBERS, taken, cells)
    cell_columns += [binary_array(taken[name], cells) for name in ("path", "value")]
    return ChangeBatch(
        table=table,
        segment=segment,
        rows=pa.RecordBatch.from_arrays(rows, schema=_row_schema(len(taken["keys"]), len(taken["clustering"]))),
        cells=pa.RecordBatch.from_arrays(cell_columns, schema=_CELLS),
        ranges=tuple(
            (Bound(tuple(start), start_inclusive), Bound(tuple(end), end_inclusive))
            for start, start_inclusive, end, end_inclusive in taken["ranges"]
        ),
        captured_at=captured_at,
    )


def _numbers(kinds: dict[str, pa.DataType], taken: dict[str, Any], count: int) -> list[pa.Array]:
    return [pa.Array.from_buffers(kind, count, [None, taken[name]], null_count=0) for name, kind in kinds.items()]
