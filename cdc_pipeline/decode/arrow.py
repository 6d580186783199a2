"""From the kernel's buffers to a `ChangeBatch`: numbers without a copy, byte strings with new offsets only."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import Bound, ChangeBatch
from cdc_pipeline.schema import Table

Longs = npt.NDArray[np.int64]

_ROW_NUMBERS = ("kind", "update", "position", "live_ts", "live_ttl", "live_local", "del_ts", "del_local", "cell_end")
_CELL_NUMBERS = {"column": "column", "kind": "cell_kind", "ts": "cell_ts", "ttl": "cell_ttl", "local": "cell_local"}


def binary_array(data: npt.NDArray[np.uint8], ends: Longs, nulls: int) -> pa.Array:
    """An Arrow binary array of the kernel's `Blobs.take()`: an end of -1 - e marks a null at e."""
    offsets = np.zeros(len(ends) + 1, np.int32)
    validity = None
    if nulls:
        null = ends < 0
        ends = np.where(null, -1 - ends, ends)
        validity = pa.py_buffer(np.packbits(~null, bitorder="little"))
    offsets[1:] = ends
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(ends), buffers, null_count=nulls)


def change_batch(table: Table, segment: str, taken: dict[str, Any], captured_at: dt.datetime) -> ChangeBatch:
    """The batch of what a `TableColumns.take()` returned."""
    rows = {name: pa.array(taken[name]) for name in _ROW_NUMBERS}
    for index, blobs in enumerate(taken["keys"]):
        rows[f"key{index}"] = binary_array(*blobs)
    for index, blobs in enumerate(taken["clustering"]):
        rows[f"ck{index}"] = binary_array(*blobs)
    cells = {name: pa.array(taken[source]) for name, source in _CELL_NUMBERS.items()}
    cells["path"] = binary_array(*taken["path"])
    cells["value"] = binary_array(*taken["value"])
    return ChangeBatch(
        table=table,
        segment=segment,
        rows=pa.RecordBatch.from_pydict(rows),
        cells=pa.RecordBatch.from_pydict(cells),
        ranges=tuple(
            (Bound(tuple(start), start_inclusive), Bound(tuple(end), end_inclusive))
            for start, start_inclusive, end, end_inclusive in taken["ranges"]
        ),
        captured_at=captured_at,
    )
