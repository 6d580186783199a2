"""Counter cells as their shards (format document, 6.11), so that counters merge like the cells of a collection.

A logged counter cell is a context: shards of counter id (16 bytes), clock (8) and count (8), each the running total of
one writer. `by_shard` makes of it a cell per shard, whose path is the shard in bytes that sort: id, then clock and count
with the sign turned. A cell tombstone becomes a deletion of the column, as Cassandra takes it: it hides every shard,
older or younger (CASSANDRA-7346, `Cells.resolveCounter`), unless itself hidden by a deletion of its row.

Of one counter id those shards count that no deletion hides, and of these the one with the greatest (clock, count), as in
`CounterContext.compare`. So a shard may be forgotten when another of its id is at least as great in (clock, count) and
in writetime: it is hidden later, and wins (`undominated`). What is left depends on no order.

Cassandra makes a clock as max(now in µs, the clock before + 1), so clocks go on rising over deletions
(`CounterMutation.updateWithCurrentValue`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import CellKind, ChangeBatch
from cdc_pipeline.schema import Table
from cdc_pipeline.types import Scalar

Longs = npt.NDArray[np.int64]

SHARD = 32
"""Bytes of a shard: counter id 16, clock 8, count 8."""

_ID = 16
_SIGN = 1 << 63
_GLOBAL = -(1 << 15)
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
    cells, ends = batch.cells, batch.rows.column("cell_end").to_numpy()
    columns = _counters(batch.table)
    kept = {name: cells.column(name).to_pylist() for name in cells.schema.names}
    made: dict[str, list[object]] = {name: [] for name in kept}
    made_before = [0]
    for cell in zip(*kept.values(), strict=True):
        for one in _of_cell(dict(zip(kept, cell, strict=True)), columns):
            for name, values in made.items():
                values.append(one[name])
        made_before.append(len(made["path"]))
    arrays = {name: pa.array(values, cells.schema.field(name).type) for name, values in made.items()}
    rows = batch.rows.set_column(
        batch.rows.schema.get_field_index("cell_end"), "cell_end", pa.array(np.array(made_before, np.int64)[ends])
    )
    return replace(
        batch, make_rows=lambda: rows, make_cells=partial(pa.RecordBatch.from_pydict, arrays, schema=cells.schema)
    )


def _counters(table: Table) -> frozenset[int]:
    return frozenset(at for at, column in enumerate(table.value_columns) if column.type == Scalar("counter"))


def _of_cell(cell: dict[str, object], columns: frozenset[int]) -> Iterator[dict[str, object]]:
    if cell["column"] not in columns:
        yield cell
    elif cell["kind"] == CellKind.TOMBSTONE:
        yield {**cell, "kind": CellKind.COLUMN_DELETION, "path": None, "value": None}
    else:
        context = cell["value"]
        try:
            found = shards(context if isinstance(context, bytes) and cell["kind"] == CellKind.LIVE else b"")
        except ValueError:
            yield cell
            return
        for shard in found:
            yield {**cell, "path": path_of(*shard), "value": None}


def undominated(row: Longs, column: Longs, ts: Longs, path: pa.Array) -> npt.NDArray[np.bool_]:
    """Which of the cells of a counter table may still count; paths that are no shards do.

    A log in which clocks and writetimes rise together leaves one shard of each counter id.
    """
    kept = np.ones(len(row), bool)
    paths = path.to_pylist()
    order = sorted(
        (at for at, one in enumerate(paths) if one is not None and len(one) == SHARD),
        key=lambda at: (row[at], column[at], paths[at][:_ID], ts[at], paths[at]),
        reverse=True,
    )
    group: tuple[object, ...] = ()
    greatest = b""
    for at in order:  # of one counter id the latest first
        known = (row[at], column[at], paths[at][:_ID])
        if known != group:
            group, greatest = known, b""
        kept[at] = paths[at] > greatest
        greatest = max(greatest, paths[at])
    return kept
