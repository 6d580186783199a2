"""A masked batch as Arrow tables, typed for its plan; values that have no exact form name their row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch
from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.load.arrays import content
from cdc_pipeline.load.clickhouse.ddl import DELETED, LAST, LASTING, LIVE, PASSING
from cdc_pipeline.load.clickhouse.plan import CLUSTERING, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.clickhouse.types import CellsType, ValueType, counters
from cdc_pipeline.load.clustering import Clusterings, written_at
from cdc_pipeline.transform import Cells, MaskedBatch, RangeDeletion, Rows, taken
from cdc_pipeline.transform.compaction import TOMBSTONE_X
from cdc_pipeline.types import SetType
from cdc_pipeline.types.key_arrays import arranged

Longs = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]
Columns = dict[str, pa.Array]

_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class EncodedTable:
    """What one micro-batch brings to one table; `failures` maps rows of the batch to why they must be parked."""

    plan: TablePlan
    rows: pa.Table | None
    static: pa.Table | None
    ranges: pa.Table | None
    failures: dict[int, RowError]


def encode_table(plan: TablePlan, masked: MaskedBatch) -> EncodedTable:
    """Encodes a batch."""
    merged = masked.merged
    encoder = _Encoder(plan, merged.batch)
    rows = encoder.rows(merged.rows, plan.regular, static=False)
    static = encoder.rows(merged.static, plan.static, static=True) if plan.static else None
    ranges = encoder.ranges(merged.ranges) if merged.ranges else None
    return EncodedTable(plan, rows, static, ranges, encoder.failures)


def stamps(micros: Longs) -> Stamps:
    """Writetimes (µs) as they are kept: sorted as they are, with 0 for none."""
    return micros.view(np.uint64) ^ _SIGN


def ranks(x: Longs, filled: npt.NDArray[np.bool_] | None = None) -> Stamps:
    """`x` (`transform/compaction.py`) as it is kept; `filled`: which values have at least one byte."""
    kept = x.astype(np.uint64) << np.uint64(1)
    return kept if filled is None else kept | (filled & (x != TOMBSTONE_X))


@dataclass
class _Encoder:
    plan: TablePlan
    batch: ChangeBatch
    failures: dict[int, RowError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clusterings = Clusterings(self.plan.table, self.plan.clustering)

    def rows(self, rows: Rows, values: Sequence[ValueColumn], *, static: bool) -> pa.Table | None:
        """Rows with their keys, liveness, deletion, and the columns that any of them touches."""
        if not len(rows):
            return None
        columns: Columns = {}
        for key, array in zip(self.plan.partition_key, rows.keys, strict=True):
            columns |= self._key(key, array, rows.source)
        if not static:
            for key, array in zip(self.plan.clustering, rows.clustering, strict=True):
                columns |= self._key(key, array, rows.source)
            if self.plan.has_clustering:
                columns[CLUSTERING] = self.clusterings.of(rows, self.failures)
            columns |= _liveness(rows)
        if (rows.del_ts != NO_TIMESTAMP).any():
            columns[DELETED] = pa.array(stamps(rows.del_ts))
        for value in values:
            columns |= self._value(value, rows)
        return pa.table(columns)

    def _key(self, key: KeyColumn, array: pa.Array, source: Longs) -> Columns:
        typed = key.type.scalar.typed(array)
        unfit = typed.unfit
        if typed.values.null_count and not key.nullable:
            null = np.flatnonzero(typed.values.is_null().to_numpy(zero_copy_only=False)).tolist()
            unfit = dict.fromkeys(null, "an empty value, which a key column has no place for") | unfit
        self._unfit(key, unfit, source)
        columns = {key.place: self._placed(typed.values, source) if key.has_forms else typed.values}
        if key.by_bytes and key.place.startswith("p"):
            columns[key.raw] = array.fill_null(b"")
        return columns

    def _placed(self, values: pa.Array, source: Longs) -> pa.Array:
        """Values behind the places in the log (segment id, position) that they come from."""
        segments, positions = written_at(self.batch, source)
        return pa.StructArray.from_arrays([pa.array(segments), pa.array(positions), values], ["s", "o", "f"])

    def _value(self, value: ValueColumn, rows: Rows) -> Columns:
        """The parts of one column; nothing when no row touches it."""
        at = np.flatnonzero(rows.cells.column == value.id)
        if isinstance(value.type, ValueType):
            return self._simple(value, value.type, rows, at) if len(at) else {}
        gone = np.flatnonzero(rows.deletions.column == value.id)
        columns: Columns = {}
        if len(gone):
            stamped = stamps(rows.deletions.ts[gone])
            columns[value.part("d")] = pa.array(_spread(stamped, rows.deletions.row[gone], len(rows)))
        if len(at) and isinstance(value.type, CellsType):
            columns[value.part("v")] = self._cells(value, value.type, rows, at)
        elif len(at):
            columns |= self._counter(value, rows, at)
        return columns

    def _simple(self, value: ValueColumn, kind: ValueType, rows: Rows, at: Longs) -> Columns:
        cells = rows.cells
        raw = taken(cells.value, at)
        arrays, unfit = kind.keep(raw, self.plan.rendering)
        self._unfit(value, unfit, cells.source[at])
        filled = _valid(raw) if kind.scalar.holds_empty else _filled(raw)
        parts = [pa.array(stamps(cells.ts[at])), pa.array(ranks(cells.x[at], filled)), *arrays]
        names = ["w", "x", *(name for name, _ in kind.kept)]
        if len(at) == len(rows):  # each row has this cell, and the cells lie as the rows do
            if not (np.diff(cells.row[at]) > 0).all():
                order = pa.array(np.argsort(cells.row[at]))
                parts = [part.take(order) for part in parts]
        else:
            index = np.full(len(rows), len(at), np.int64)
            index[cells.row[at]] = np.arange(len(at))
            parts = [_with_default(part).take(pa.array(index)) for part in parts]
        return {value.part("v"): pa.StructArray.from_arrays(parts, names)}

    def _cells(self, value: ValueColumn, kind: CellsType, rows: Rows, at: Longs) -> pa.Array:
        """A map for each row, by path; what the column's deletion in this batch covers is left to the view."""
        cells = rows.cells
        path = taken(cells.path, at).fill_null(b"")
        raw = taken(cells.value, at).fill_null(b"")
        live = cells.x[at] != TOMBSTONE_X
        sorted_by, unfit = _paths(kind, path)
        self._unfit(value, unfit, cells.source[at])
        arrays, unfit = kind.keep(path, raw, live, self.plan.rendering)
        self._unfit(value, unfit, cells.source[at])
        filled = _filled(path if isinstance(value.column.type, SetType) else raw)
        parts = [pa.array(stamps(cells.ts[at])), pa.array(ranks(cells.x[at], filled)), *arrays]
        struct = pa.StructArray.from_arrays(parts, ["w", "x", *(name for name, _ in kind.kept)])
        return _maps(sorted_by, struct, cells.row[at], len(rows))

    def _counter(self, value: ValueColumn, rows: Rows, at: Longs) -> Columns:
        cells = rows.cells
        bad = _not_shards(cells, at)
        for one, why in bad.items():
            self.failures[int(cells.source[at[one]])] = self._error(value, "Int64", why)
        at = np.delete(at, list(bad))
        if not len(at):
            return {}
        ids, clocks, counts = counters.parts(taken(cells.path, at))
        written, row = stamps(cells.ts[at]), cells.row[at]
        by_clock = np.lexsort((written, counts, clocks))
        by_time = np.lexsort((counts, clocks, written))
        return {
            value.part("v"): _shards(ids, row, by_clock, {"k": clocks, "n": counts, "w": written}, len(rows)),
            value.part("o"): _shards(ids, row, by_time, {"w": written, "k": clocks, "n": counts}, len(rows)),
        }

    def _unfit(self, one: KeyColumn | ValueColumn, unfit: dict[int, str], source: Longs) -> None:
        sql = one.type.sql if one.type is not None else "Int64"
        for at, why in unfit.items():
            self.failures[int(source[at])] = self._error(one, sql, why)

    def _error(self, one: KeyColumn | ValueColumn, sql: str, why: str) -> RowError:
        return ValueOutOfRange(f"{self.plan.table.full_name}.{one.column.name}", one.column.type.cql, sql, why)

    def ranges(self, ranges: Sequence[RangeDeletion]) -> pa.Table | None:
        """Ledger rows: partition, [lo, hi) of clustering sort bytes, stamp."""
        chosen = list(self.clusterings.bounded(ranges, self.failures))
        if not chosen:
            return None
        source = np.array([deletion.source for _, _, deletion in chosen], np.int64)
        columns: Columns = {}
        for index, key in enumerate(self.plan.partition_key):
            columns |= self._key(key, pa.array([one.key[index] for _, _, one in chosen], pa.binary()), source)
        columns = {name: columns[name] for name in self.plan.partition_names}
        columns["lo"] = pa.array([lo for lo, _, _ in chosen], pa.binary())
        columns["hi"] = pa.array([hi for _, hi, _ in chosen], pa.binary())
        columns["ts"] = pa.array(stamps(np.array([deletion.ts for _, _, deletion in chosen], np.int64)))
        return pa.table(columns)


def _liveness(rows: Rows) -> Columns:
    """Liveness, and the last of the rows' values, which show a row when a younger liveness has expired."""
    live = stamps(rows.live_ts)
    columns: Columns = {}
    if live.any():
        struct = pa.StructArray.from_arrays([pa.array(live), pa.array(ranks(rows.live_x))], ["w", "x"])
        columns[LIVE] = struct
    cells = rows.cells
    for name, chosen in (
        (LASTING, cells.x == 0),
        (PASSING, (cells.x > 0) & (cells.x < TOMBSTONE_X)),
    ):
        if not chosen.any():
            continue
        columns[name] = pa.array(_greatest(stamps(cells.ts[chosen]), cells.row[chosen], len(rows)))
        if name == PASSING:
            columns[LAST] = pa.array(_greatest(ranks(cells.x[chosen]), cells.row[chosen], len(rows)))
    return columns


def _greatest(values: Stamps, row: Longs, count: int) -> Stamps:
    """The greatest value of each row, 0 where it has none."""
    found = np.zeros(count, np.uint64)
    np.maximum.at(found, row, values)
    return found


def _spread(values: Stamps, row: Longs, count: int) -> Stamps:
    found = np.zeros(count, np.uint64)
    found[row] = values
    return found


def _filled(array: pa.BinaryArray) -> npt.NDArray[np.bool_]:
    """Which values have at least one byte."""
    _, ends = content(array)
    filled: npt.NDArray[np.bool_] = np.diff(ends) > 0
    return filled


def _valid(array: pa.BinaryArray) -> npt.NDArray[np.bool_]:
    """Which values are there; an empty one of another type has no mask."""
    valid: npt.NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _with_default(array: pa.Array) -> pa.Array:
    """The array with one more value at its end: what a row has that was not written."""
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        default = pa.array([bytes(kind.byte_width)], kind)
    elif pa.types.is_integer(kind):
        default = pa.array([0], kind)
    else:
        default = pa.nulls(1, kind)
    return pa.concat_arrays([array, default])


def _paths(kind: CellsType, path: pa.BinaryArray) -> tuple[pa.BinaryArray, dict[int, str]]:
    """How the paths sort, each distinct one found once."""
    encoded = path.dictionary_encode()
    found: list[bytes | None] = []
    for raw in encoded.dictionary.to_pylist():
        try:
            found.append(kind.path(raw))
        except ValueError:
            found.append(None)
    keys = pa.array(found, pa.binary()).take(encoded.indices)
    bad = np.flatnonzero(keys.is_null().to_numpy(zero_copy_only=False)).tolist() if keys.null_count else []
    return keys.fill_null(b""), dict.fromkeys(bad, "bytes that are none of the type's")


def _maps(keys: pa.Array, values: pa.StructArray, row: Longs, count: int) -> pa.MapArray:
    """A map per row of the cells that belong to it, by key. Two forms of one path, as 1.0 and 1.00, are one key: the
    greater cell is kept."""
    order = _by_row_and_key(keys, values, row)
    ends = np.zeros(count + 1, np.int64)
    np.add.at(ends, row[order] + 1, 1)
    at = pa.array(order)
    return pa.MapArray.from_arrays(pa.array(np.cumsum(ends), pa.int32()), keys.take(at), values.take(at))


def _by_row_and_key(keys: pa.Array, values: pa.StructArray, row: Longs) -> Longs:
    numbers = row.astype(">i8").tobytes()
    ends = pa.py_buffer(np.arange(len(row) + 1, dtype=np.int32) * 8)
    rows = pa.Array.from_buffers(pa.binary(), len(row), [None, ends, pa.py_buffer(numbers)])
    order, new = arranged([rows, keys])
    if new.all():
        return order
    groups = np.split(order, np.flatnonzero(new)[1:])
    return np.array([max(group.tolist(), key=lambda at: _rank(values, at)) for group in groups], np.int64)


def _rank(values: pa.StructArray, at: int) -> tuple[object, ...]:
    return tuple(b"" if part is None else part for part in (values.field(i)[at].as_py() for i in range(3)))


def _not_shards(cells: Cells, at: Longs) -> dict[int, str]:
    path = taken(cells.path, at)
    if not path.null_count:
        return {}
    empty = np.flatnonzero(path.is_null().to_numpy(zero_copy_only=False)).tolist()
    raw = taken(cells.value, at)
    found = {one: counters.unreadable(None, raw[one].as_py()) for one in empty}
    return {one: why for one, why in found.items() if why is not None}


def _shards(ids: pa.Array, row: Longs, order: Longs, parts: dict[str, Stamps], count: int) -> pa.MapArray:
    """A map per row from counter id to a shard, of several the last in this order."""
    names = ids.cast(pa.binary())
    by_id = np.argsort(np.array(names.to_pylist(), object)[order], kind="stable")
    arranged_by = order[by_id][np.argsort(row[order][by_id], kind="stable")]
    keys = [(int(row[at]), names[int(at)].as_py()) for at in arranged_by]
    last = np.array([at + 1 == len(keys) or keys[at + 1] != key for at, key in enumerate(keys)], bool)
    chosen = arranged_by[last]
    ends = np.zeros(count + 1, np.int64)
    np.add.at(ends, row[chosen] + 1, 1)
    struct = pa.StructArray.from_arrays([pa.array(part[chosen]) for part in parts.values()], list(parts))
    return pa.MapArray.from_arrays(pa.array(np.cumsum(ends), pa.int32()), ids.take(pa.array(chosen)), struct)
