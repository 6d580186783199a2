"""Counter cells as their shards (format document, 6.11), so that counters merge like the cells of a collection.

A logged counter cell is a context: shards of counter id (16 bytes), clock (8) and count (8), each the running total of
one writer. `by_shard` makes of it a cell per shard, whose path is the shard in bytes that sort: id, then clock and
count with the sign turned. A cell tombstone becomes a deletion of the column, as Cassandra takes it: it hides every
shard, older or younger (CASSANDRA-7346, `Cells.resolveCounter`), unless itself hidden by a deletion of its row.

Of one counter id those shards count that no deletion hides, and of these the one with the greatest (clock, count), as
in `CounterContext.compare`. So a shard may be forgotten when another of its id is at least as great in (clock, count)
and in writetime: it is hidden later, and wins (`undominated`). What is left depends on no order.

Cassandra makes a clock as max(now in µs, the clock before + 1), so clocks go on rising over deletions
(`CounterMutation.updateWithCurrentValue`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc_pipeline.change import CellKind, ChangeBatch
from cdc_pipeline.types import Scalar

Longs = npt.NDArray[np.int64]

SHARD = 32
"""Bytes of a shard: counter id 16, clock 8, count 8."""

_ID = 16
_SIGN = 1 << 63
_GLOBAL = -(1 << 15)
_ONE_GLOBAL = b"\x00\x01\x80\x00"
_NUMBERS = struct.Struct(">qq")
_SORTED = struct.Struct(">QQ")


def shards(context: bytes) -> list[tuple[bytes, int, int]]:
    """(counter id, clock, count) of each shard of a context; `ValueError` says what it is instead.

    Shards of before Cassandra 2.1 (local and remote ones) are refused: local ones are differences, which a log that
    repeats itself cannot add up.
    """
    marked = int.from_bytes(context[:2], "big", signed=True)
    body = context[2 + 2 * marked :] if marked > 0 else context[2:]
    if marked < 0 or not body or len(body) % SHARD:
        raise ValueError(f"expected a counter context of whole shards, found {len(context)} bytes")
    count = len(body) // SHARD
    marks = struct.unpack_from(f">{marked}h", context, 2)
    if marks != tuple(range(_GLOBAL, _GLOBAL + count)):
        raise ValueError("expected global shards alone, found one of before Cassandra 2.1")
    found = [(body[at : at + _ID], *_NUMBERS.unpack_from(body, at + _ID)) for at in range(0, len(body), SHARD)]
    if len({counter for counter, _, _ in found}) < count:
        raise ValueError("expected a shard for each counter id, found two of one")
    return found


def path_of(counter: bytes, clock: int, count: int) -> bytes:
    """A shard as a path: paths of one counter id sort by clock, then count."""
    return counter + _SORTED.pack(clock + _SIGN, count + _SIGN)


def count_of(path: bytes) -> int:
    """The count in a path."""
    return int.from_bytes(path[24:], "big") - _SIGN


def by_shard(batch: ChangeBatch) -> ChangeBatch:
    """A batch of a counter table with its cells by shard.

    A context that cannot be read stays the value of a cell without a path, for its row to be parked where it is typed.
    """
    cells = batch.cells
    counters = [at for at, column in enumerate(batch.table.value_columns) if column.type == Scalar("counter")]
    is_counter = np.isin(cells.column("column").to_numpy(), counters)
    paths = _increments(cells) if is_counter.all() else None
    if paths is None:
        return _by_cell(batch, is_counter.tolist())
    nothing = pa.nulls(len(paths), pa.binary())
    made = cells.set_column(cells.schema.get_field_index("path"), "path", paths)
    made = made.set_column(made.schema.get_field_index("value"), "value", nothing)
    return _with(batch, batch.rows, made)


def _increments(cells: pa.RecordBatch) -> pa.Array | None:
    """The paths of cells that are all one global shard, as a node writes each increment; None when some are not."""
    value = cells.column("value")
    if not (cells.column("kind").to_numpy() == CellKind.LIVE).all() or value.null_count:
        return None
    lengths = pc.binary_length(value).to_numpy()
    if (lengths != len(_ONE_GLOBAL) + SHARD).any():
        return None
    raw = np.frombuffer(b"".join(value.to_pylist()), np.uint8).reshape(-1, len(_ONE_GLOBAL) + SHARD)
    if (raw[:, : len(_ONE_GLOBAL)] != np.frombuffer(_ONE_GLOBAL, np.uint8)).any():
        return None
    shard = raw[:, len(_ONE_GLOBAL) :].copy()
    shard[:, (_ID, _ID + 8)] ^= 0x80
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(SHARD), len(shard), [None, pa.py_buffer(shard.tobytes())])
    return fixed.cast(pa.binary())


def _by_cell(batch: ChangeBatch, is_counter: list[bool]) -> ChangeBatch:
    cells = batch.cells
    made: dict[str, list[object]] = {name: [] for name in cells.schema.names}
    ends = [0]
    for cell, counts in zip(cells.to_pylist(), is_counter, strict=True):
        for one in _of_counter(cell) if counts else (cell,):
            for name, values in made.items():
                values.append(one[name])
        ends.append(len(made["path"]))
    fresh = pa.RecordBatch.from_pydict(made, schema=cells.schema)
    rows, at = batch.rows, batch.rows.schema.get_field_index("cell_end")
    cell_end = pa.array(np.array(ends, np.int64)[rows.column("cell_end").to_numpy()])
    moved = rows.set_column(at, "cell_end", cell_end)
    return _with(batch, moved, fresh)


def _with(batch: ChangeBatch, rows: pa.RecordBatch, cells: pa.RecordBatch) -> ChangeBatch:
    """The batch's own columns are made once only, so none is asked for again."""
    return replace(batch, make_rows=lambda: rows, make_cells=lambda: cells)


def _of_counter(cell: dict[str, object]) -> Iterator[dict[str, object]]:
    if cell["kind"] == CellKind.TOMBSTONE:
        yield {**cell, "kind": CellKind.COLUMN_DELETION, "path": None, "value": None}
        return
    context = cell["value"]
    try:
        found = shards(context if isinstance(context, bytes) and cell["kind"] == CellKind.LIVE else b"")
    except ValueError:
        yield cell
        return
    for shard in found:
        yield {**cell, "path": path_of(*shard), "value": None}


def undominated(row: Longs, column: Longs, ts: Longs, path: pa.Array) -> npt.NDArray[np.bool_]:
    """Which of the cells of a counter table may still count; those without a shard do.

    A log in which clocks and writetimes rise together leaves one shard of each counter id.
    """
    groups: dict[tuple[int, int, bytes], list[tuple[int, bytes, int]]] = {}
    paths = path.to_pylist()
    for at, (of_row, of_column, stamp, one) in enumerate(
        zip(row.tolist(), column.tolist(), ts.tolist(), paths, strict=True)
    ):
        if one is not None:
            groups.setdefault((of_row, of_column, one[:_ID]), []).append((stamp, one, at))
    kept = np.ones(len(row), bool)
    for group in groups.values():
        greatest = b""
        for _, one, at in sorted(group, reverse=True) if len(group) > 1 else ():  # the latest first
            kept[at] = one > greatest
            greatest = max(greatest, one)
    return kept
