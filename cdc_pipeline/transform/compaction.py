"""A batch merged to one row per key, by Cassandra's own rule, before anything is sent.

The rule (`Cells`, format document 8.4): of the versions of a cell the greatest (timestamp, rank, expiry, TTL reversed,
value bytes) wins, rank 0 live, 1 expiring, 2 tombstone; of two that expire at the same second the one with the smaller
TTL, which was written later (CASSANDRA-14592). All but timestamp and bytes are one number here, `x`: 0 live,
`TOMBSTONE_X` for a tombstone, else expiry (s) << 30 | 2^30 - 1 - TTL (s). Ties are decided on the serialized bytes, so
before masking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, Bound, CellKind, ChangeBatch, RowKind
from cdc_pipeline.schema import Table
from cdc_pipeline.transform.counters import by_shard, undominated
from cdc_pipeline.types.key_arrays import arranged, clustering_keys

Longs = npt.NDArray[np.int64]

TOMBSTONE_X = 2**62
"""The `x` of a tombstone: beyond every expiry."""

TTL_BITS = 30
"""A TTL is at most 20 years, 630 720 000 s; an expiry at most 2^32 s."""


def expiring_x(expires: Longs, ttl: Longs) -> Longs:
    """The `x` of cells or liveness that expire."""
    return (expires << TTL_BITS) | np.clip((1 << TTL_BITS) - 1 - ttl, 0, (1 << TTL_BITS) - 1)


@dataclass(frozen=True)
class Cells:
    """Winning cells: `row` counts in the merged rows, `source` in the rows of the batch; arrays of one length."""

    row: Longs
    column: Longs
    ts: Longs
    x: Longs
    path: pa.Array
    value: pa.Array
    source: Longs

    def only(self, kept: npt.NDArray[np.bool_]) -> Cells:
        """Those that are marked."""
        at = np.flatnonzero(kept)
        arrays = (taken(self.path, at), taken(self.value, at))
        return Cells(self.row[at], self.column[at], self.ts[at], self.x[at], *arrays, self.source[at])


@dataclass(frozen=True)
class ColumnDeletions:
    """The greatest deletion (µs) of multi-cell columns, by merged row."""

    row: Longs
    column: Longs
    ts: Longs


@dataclass(frozen=True)
class Rows:
    """Rows with distinct keys: parts of the key, row liveness, greatest row deletion (-2^63 = none), cells.

    `shared` are the rows of the batch that were merged with others: a part of them lost, and is not in here."""

    keys: tuple[pa.Array, ...]
    clustering: tuple[pa.Array, ...]
    live_ts: Longs
    live_x: Longs
    del_ts: Longs
    cells: Cells
    deletions: ColumnDeletions
    source: Longs
    shared: Longs

    def __len__(self) -> int:
        return len(self.live_ts)


@dataclass(frozen=True, slots=True)
class RangeDeletion:
    """A range tombstone, or a partition deletion when it has no bounds; `source` is its row in the batch."""

    key: tuple[bytes, ...]
    start: Bound | None
    end: Bound | None
    ts: int
    source: int


@dataclass(frozen=True)
class MergedBatch:
    """One table's changes, one row per key; `rows` and `static` are independent of each other and of `ranges`.

    `changes` counts the rows of the batch that went in; `apart`: each of them is there, also where keys repeat."""

    batch: ChangeBatch
    rows: Rows
    static: Rows
    ranges: tuple[RangeDeletion, ...]
    changes: int
    apart: bool = False

    @property
    def table(self) -> Table:
        """The table of the batch."""
        return self.batch.table


def compact(batch: ChangeBatch, without: frozenset[int] = frozenset(), *, apart: bool = False) -> MergedBatch:
    """Merges a batch; rows whose index is in `without` (parked ones) are left out; `apart` keeps each row for itself.

    A partition deletion of a table without clustering columns is a deletion of its one row (8.3). A counter's cells
    come out by shard (`counters.py`).
    """
    if batch.table.is_counter:
        batch = by_shard(batch)
    kind = batch.rows.column("kind").to_numpy().copy()
    if without:
        kind[list(without)] = RowKind.NOTHING
    if not batch.table.clustering:
        kind[kind == RowKind.PARTITION] = RowKind.ROW
    columns = _CellColumns(batch)
    return MergedBatch(
        batch,
        rows=_merge(batch, np.flatnonzero(kind == RowKind.ROW), columns, clustered=True, apart=apart),
        static=_merge(batch, np.flatnonzero(kind == RowKind.STATIC), columns, clustered=False, apart=apart),
        ranges=_ranges(batch, kind),
        changes=int((kind != RowKind.NOTHING).sum()),
        apart=apart,
    )


class _CellColumns:
    """The cells of a batch with the row that each belongs to."""

    def __init__(self, batch: ChangeBatch) -> None:
        ends = batch.rows.column("cell_end").to_numpy()
        cells = batch.cells
        self.row = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        self.column = cells.column("column").to_numpy()
        self.ts = cells.column("ts").to_numpy()
        self.kind = cells.column("kind").to_numpy()
        self.x = np.zeros(len(self.kind), np.int64)
        self.x[self.kind == CellKind.TOMBSTONE] = TOMBSTONE_X
        expiring = np.flatnonzero(self.kind == CellKind.EXPIRING)
        if len(expiring):
            self.x[expiring] = expiring_x(_longs(cells, "local")[expiring], _longs(cells, "ttl")[expiring])
        self.path = cells.column("path")
        self.value = cells.column("value")


def _longs(columns: pa.RecordBatch, name: str) -> Longs:
    longs: Longs = columns.column(name).to_numpy().astype(np.int64)
    return longs


def _merge(batch: ChangeBatch, chosen: Longs, cells: _CellColumns, *, clustered: bool, apart: bool) -> Rows:
    table, rows = batch.table, batch.rows
    if not len(chosen):
        return _nothing(len(table.partition_key), len(table.clustering) if clustered else 0)
    if apart:
        merged_row = first = np.arange(len(chosen))
    else:
        merged_row, first = _identify(table, rows, chosen, clustered=clustered)
    count = len(first)
    source = chosen[first]
    live_ts, live_x = _liveness(rows, chosen, merged_row, count)
    del_ts = np.full(count, NO_TIMESTAMP, np.int64)
    np.maximum.at(del_ts, merged_row, rows.column("del_ts").to_numpy()[chosen])
    row_of = np.full(rows.num_rows, -1, np.int64)
    row_of[chosen] = merged_row
    shared = np.bincount(merged_row, minlength=count) > 1
    winners = _winners(cells, row_of, shared)
    if table.is_counter and shared.any():
        winners = winners.only(undominated(winners.row, winners.column, winners.ts, winners.path))
    return Rows(
        keys=tuple(taken(rows.column(f"key{i}"), source) for i in range(len(table.partition_key))),
        clustering=tuple(
            taken(rows.column(f"ck{i}"), source) for i in range(len(table.clustering) if clustered else 0)
        ),
        live_ts=live_ts,
        live_x=live_x,
        del_ts=del_ts,
        cells=winners,
        deletions=_column_deletions(cells, row_of),
        source=source,
        shared=chosen[shared[merged_row]],
    )


@cache
def _nothing(keys: int, clusterings: int) -> Rows:
    """No rows, of so many key columns."""
    none, nothing = np.empty(0, np.int64), pa.array([], pa.binary())
    cells = Cells(none, none, none, none, nothing, nothing, none)
    deletions = ColumnDeletions(none, none, none)
    return Rows((nothing,) * keys, (nothing,) * clusterings, none, none, none, cells, deletions, none, none)


def _identify(table: Table, rows: pa.RecordBatch, chosen: Longs, *, clustered: bool) -> tuple[Longs, Longs]:
    """(the merged row of each chosen row, the first chosen row of each merged one); merged rows sorted by key.

    Clustering values are compared as Cassandra sorts them: the decimals 1.0 and 1.00 are one row.
    """
    parts = [taken(rows.column(f"key{i}"), chosen) for i in range(len(table.partition_key))]
    if clustered and table.clustering:
        parts.append(_sort_bytes(table, [taken(rows.column(f"ck{i}"), chosen) for i in range(len(table.clustering))]))
    order, new = arranged(parts)
    merged = np.empty(len(order), np.int64)
    merged[order] = np.cumsum(new) - 1
    return merged, order[new]


def taken(array: pa.Array, at: Longs) -> pa.Array:
    """The values at these places; the array itself, not a copy, where these are all in order."""
    if len(at) == len(array) and (at[1:] > at[:-1]).all():
        return array
    return array.take(pa.array(at))


def _sort_bytes(table: Table, columns: Sequence[pa.Array]) -> pa.Array:
    """A row whose bytes are none of its types' is like no other: it fails where it is typed, and alone."""
    clustering = table.clustering
    keys, bad = clustering_keys([c.type for c in clustering], [c.descending for c in clustering], columns)
    if not bad.any():
        return keys
    found = keys.to_pylist()
    for at in np.flatnonzero(bad).tolist():
        found[at] = b"\xff" + at.to_bytes(8, "big")
    return pa.array(found, pa.binary())


def _liveness(rows: pa.RecordBatch, chosen: Longs, merged: Longs, count: int) -> tuple[Longs, Longs]:
    """The winning primary-key liveness of each merged row: later timestamp, then expiring, then later expiry."""
    ts = rows.column("live_ts").to_numpy()[chosen]
    ttl = _longs(rows, "live_ttl")[chosen]
    x = np.where(ttl > 0, expiring_x(_longs(rows, "live_local")[chosen], ttl), 0)
    live_ts = np.full(count, NO_TIMESTAMP, np.int64)
    live_x = np.zeros(count, np.int64)
    if count < len(chosen):  # the last of each merged row wins
        order = np.lexsort((x, ts, merged))
        merged, ts, x = merged[order], ts[order], x[order]
    live_ts[merged] = ts
    live_x[merged] = x
    return live_ts, live_x


def _winners(cells: _CellColumns, row_of: Longs, shared: npt.NDArray[np.bool_]) -> Cells:
    """The cells that win: all of a row that was not merged with others, for a mutation holds each cell once."""
    row = row_of[cells.row]
    here = (cells.kind != CellKind.COLUMN_DELETION) & (row >= 0)
    if shared.any():
        rivals = np.flatnonzero(here & shared[row])
        here[rivals] = False
        here[_greatest(cells, row, rivals)] = True
    if here.all():
        return Cells(row, cells.column, cells.ts, cells.x, cells.path, cells.value, cells.row)
    picked = np.flatnonzero(here)
    return Cells(
        row=row[picked],
        column=cells.column[picked],
        ts=cells.ts[picked],
        x=cells.x[picked],
        path=taken(cells.path, picked),
        value=taken(cells.value, picked),
        source=cells.row[picked],
    )


def _greatest(cells: _CellColumns, row_of_cell: Longs, chosen: Longs) -> Longs:
    """Of these cells the greatest of each (row, column, path)."""
    row, column, ts, x = row_of_cell[chosen], cells.column[chosen], cells.ts[chosen], cells.x[chosen]
    path = _codes(cells.path.take(pa.array(chosen)))
    order = np.lexsort((x, ts, path, column, row))
    same = (np.diff(row[order]) == 0) & (np.diff(column[order]) == 0) & (np.diff(path[order]) == 0)
    last = np.append(~same, True) if len(order) else np.empty(0, bool)
    tied = same & (np.diff(ts[order]) == 0) & (np.diff(x[order]) == 0)
    winners = _break_ties(order, tied, last, chosen, cells.value) if tied.any() else order[last]
    return chosen[winners]


def _break_ties(
    order: Longs, tied: npt.NDArray[np.bool_], last: npt.NDArray[np.bool_], chosen: Longs, value: pa.Array
) -> Longs:
    """The winners where the last of a group ties with those before it: the greatest bytes, unsigned."""
    ends = np.flatnonzero(last)
    winners: Longs = order[ends]
    for group in np.flatnonzero(tied[np.maximum(ends - 1, 0)] & (ends > 0)):
        at = int(ends[group])
        while at > 0 and tied[at - 1]:
            at -= 1
            rival, best = int(chosen[order[at]]), int(chosen[winners[group]])
            if (value[rival].as_py() or b"") > (value[best].as_py() or b""):
                winners[group] = order[at]
    return winners


def _codes(paths: pa.Array) -> Longs:
    """A number per distinct path; simple columns, whose path is null, get -1."""
    encoded = paths.dictionary_encode()
    codes: Longs = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes


def _column_deletions(cells: _CellColumns, row_of: Longs) -> ColumnDeletions:
    chosen = np.flatnonzero((cells.kind == CellKind.COLUMN_DELETION) & (row_of[cells.row] >= 0))
    if not len(chosen):
        return ColumnDeletions(chosen, chosen, chosen)
    row, column, ts = row_of[cells.row[chosen]], cells.column[chosen], cells.ts[chosen]
    order = np.lexsort((ts, column, row))
    row, column, ts = row[order], column[order], ts[order]
    last = np.ones(len(order), bool)
    last[:-1] = (np.diff(row) != 0) | (np.diff(column) != 0)
    return ColumnDeletions(row[last], column[last], ts[last])


def _ranges(batch: ChangeBatch, kind: Longs) -> tuple[RangeDeletion, ...]:
    """Range tombstones and partition deletions, each with its bounds; `batch.ranges` counts all ranges, parked too."""
    number = np.cumsum(batch.rows.column("kind").to_numpy() == RowKind.RANGE) - 1
    found = []
    for index in np.flatnonzero((kind == RowKind.RANGE) | (kind == RowKind.PARTITION)):
        bounds: Sequence[Bound | None] = (None, None)
        if kind[index] == RowKind.RANGE:
            bounds = batch.ranges[number[index]]
        key = tuple(batch.rows.column(f"key{i}")[index].as_py() for i in range(len(batch.table.partition_key)))
        ts = batch.rows.column("del_ts")[index].as_py()
        found.append(RangeDeletion(key, bounds[0], bounds[1], ts, int(index)))
    return tuple(found)
