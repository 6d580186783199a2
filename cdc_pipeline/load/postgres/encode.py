"""A masked batch as binary COPY columns, typed for its plan; values that have no exact form name their row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP
from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.load.postgres.cells import CellArrays
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER, encode_rows
from cdc_pipeline.load.postgres.ddl import CLUSTERING, DELETED, LIVE_W, LIVE_X
from cdc_pipeline.load.postgres.plan import KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import CellsType, Unfit, ValueType
from cdc_pipeline.transform import MaskedBatch, RangeDeletion, Rows
from cdc_pipeline.types import Scalar, clustering_key, range_bounds

Longs = npt.NDArray[np.int64]
CopyColumn = tuple[bytes, npt.NDArray[np.int32], npt.NDArray[np.uint8] | None]


@dataclass(frozen=True)
class CopyBatch:
    """Rows for one table: the columns that are sent, quoted, and the whole COPY stream."""

    columns: tuple[str, ...]
    rows: int
    data: bytes


@dataclass(frozen=True)
class EncodedTable:
    """What one micro-batch brings to one table; `failures` maps rows of the batch to why they must be parked."""

    plan: TablePlan
    rows: CopyBatch | None
    static: CopyBatch | None
    ranges: CopyBatch | None
    failures: dict[int, RowError]


def encode_table(plan: TablePlan, masked: MaskedBatch, cell_oid: int) -> EncodedTable:
    """Encodes a batch. `cell_oid` is the server's oid of `cdc.cell`."""
    encoder = _Encoder(plan, cell_oid)
    merged = masked.merged
    rows = encoder.rows(merged.rows, plan.regular, static=False)
    static = encoder.rows(merged.static, plan.static, static=True) if plan.static else None
    ranges = encoder.ranges(merged.ranges) if merged.ranges else None
    return EncodedTable(plan, rows, static, ranges, encoder.failures)


@dataclass
class _Encoder:
    plan: TablePlan
    cell_oid: int
    failures: dict[int, RowError] = field(default_factory=dict)

    def rows(self, rows: Rows, values: Sequence[ValueColumn], *, static: bool) -> CopyBatch | None:
        """Rows with their keys, liveness, deletion, and the columns that any of them touches."""
        if not len(rows):
            return None
        columns: list[tuple[str, CopyColumn]] = []
        for key, array in zip(self.plan.partition_key, rows.keys, strict=True):
            columns += self._key(key, array, rows.source)
        if not static:
            for key, array in zip(self.plan.clustering, rows.clustering, strict=True):
                columns.append((key.sql_name, self._typed(key.column.name, key.column, key.type, array, rows.source)))
            if self.plan.has_clustering:
                columns.append((CLUSTERING, self._clustering(rows)))
            columns.append((LIVE_W, _longs(rows.live_ts, rows.live_ts != NO_TIMESTAMP)))
            columns.append((LIVE_X, _longs(rows.live_x, rows.live_x > 0)))
        columns.append((DELETED, _longs(rows.del_ts, rows.del_ts != NO_TIMESTAMP)))
        for value in values:
            columns += self._value(value, rows)
        return _copy_batch(columns, len(rows))

    def _key(self, key: KeyColumn, array: pa.Array, source: Longs) -> list[tuple[str, CopyColumn]]:
        typed = (key.sql_name, self._typed(key.column.name, key.column, key.type, array, source))
        return [typed, (key.raw_name, _binary(array))] if key.by_bytes else [typed]

    def _clustering(self, rows: Rows) -> CopyColumn:
        encode = clustering_encoder(self.plan)
        found = []
        for at, row in enumerate(zip(*(array.to_pylist() for array in rows.clustering), strict=True)):
            try:
                found.append(encode(row))
            except ValueError:
                found.append(b"")
                self.failures[int(rows.source[at])] = self._unsortable()
        return _binary(pa.array(found, pa.binary()))

    def _unsortable(self) -> RowError:
        columns = self.plan.clustering
        types = ", ".join(key.column.type.cql for key in columns)
        why = "bytes that are none of the types'"
        return ValueOutOfRange(
            f"{self.plan.table.full_name} ({', '.join(k.column.name for k in columns)})", types, "its sort key", why
        )

    def _value(self, value: ValueColumn, rows: Rows) -> list[tuple[str, CopyColumn]]:
        """The parts of one column; nothing when no row touches it."""
        if isinstance(value.type, CellsType):
            return self._cells(value, value.type, rows)
        at = np.flatnonzero(rows.cells.column == value.id)
        if not len(at):
            return []
        row = rows.cells.row[at]
        serialized = rows.cells.value.take(pa.array(at))
        typed = self._encoded(value.column.name, value.column, value.type, serialized, rows.cells.source[at])
        x = rows.cells.x[at]
        parts = [
            (value.part("v"), _spread(typed, row, len(rows))),
            (value.part("w"), _longs_at(rows.cells.ts[at], row, len(rows))),
            (value.part("x"), _longs_at(x[x > 0], row[x > 0], len(rows))),
        ]
        if value.bytes_beside:
            parts.append((value.part("b"), _spread(serialized, row, len(rows))))
        return parts

    def _cells(self, value: ValueColumn, kind: CellsType, rows: Rows) -> list[tuple[str, CopyColumn]]:
        at = np.flatnonzero(rows.cells.column == value.id)
        gone = np.flatnonzero(rows.deletions.column == value.id)
        if not len(at) and not len(gone):
            return []
        arrays = CellArrays(value, kind, self.cell_oid, self.plan.table.full_name)
        deleted = dict(zip(rows.deletions.row[gone].tolist(), rows.deletions.ts[gone].tolist(), strict=True))
        fields = arrays.encode(rows.cells, at, deleted)
        self.failures.update(arrays.failures)
        return [
            (value.part("v"), _spread(pa.array(list(fields.values()), pa.binary()), _keys(fields), len(rows))),
            (value.part("d"), _longs_at(rows.deletions.ts[gone], rows.deletions.row[gone], len(rows))),
        ]

    def _typed(self, name: str, column: object, kind: ValueType, array: pa.Array, source: Longs) -> CopyColumn:
        return _binary(self._encoded(name, column, kind, array, source))

    def _encoded(self, name: str, column: object, kind: ValueType, array: pa.Array, source: Longs) -> pa.Array:
        """Each value as its binary field; what does not fit becomes NULL and a failure of its row."""
        if kind.same is not None and _all_of_size(array, kind.same):
            return array
        encoded = array.dictionary_encode()
        fields: list[bytes | None] = []
        unfit: dict[int, str] = {}
        for number, raw in enumerate(encoded.dictionary.to_pylist()):
            fields.append(None)
            if raw or not kind.empty_is_null:
                try:
                    fields[-1] = kind.encode(raw)
                except Unfit as error:
                    unfit[number] = str(error)
                except ValueError:
                    unfit[number] = "bytes that are none of the type's"
        if unfit:
            cql = getattr(getattr(column, "type", None), "cql", "value")
            where = f"{self.plan.table.full_name}.{name}"
            for at, code in enumerate(encoded.indices.to_pylist()):
                if code in unfit:
                    self.failures[int(source[at])] = ValueOutOfRange(where, cql, kind.sql, unfit[code])
        return pa.array(fields, pa.binary()).take(encoded.indices)

    def ranges(self, ranges: Sequence[RangeDeletion]) -> CopyBatch | None:
        """Ledger rows: partition, [lo, hi) of clustering sort bytes, timestamp; the greatest of equal bounds."""
        encode = clustering_encoder(self.plan)
        greatest: dict[tuple[tuple[bytes, ...], bytes, bytes], RangeDeletion] = {}
        for deletion in ranges:
            lo, hi = b"", b"\xff"
            if deletion.start is not None and deletion.end is not None:
                start, end = deletion.start, deletion.end
                try:
                    lo, hi = range_bounds(encode, start.values, start.inclusive, end.values, end.inclusive)
                except ValueError:
                    self.failures[deletion.source] = self._unsortable()
                    continue
            known = greatest.setdefault((deletion.key, lo, hi), deletion)
            if deletion.ts > known.ts:
                greatest[deletion.key, lo, hi] = deletion
        if not greatest:
            return None
        chosen = list(greatest.values())
        source = np.array([deletion.source for deletion in chosen], np.int64)
        columns: list[tuple[str, CopyColumn]] = []
        for index, key in enumerate(self.plan.partition_key):
            columns += self._key(key, pa.array([deletion.key[index] for deletion in chosen], pa.binary()), source)
        unfit = {one.key: self.failures[one.source] for one in chosen if one.source in self.failures}
        self.failures |= {one.source: unfit[one.key] for one in ranges if one.key in unfit}
        columns.append(("lo", _binary(pa.array([lo for _, lo, _ in greatest], pa.binary()))))
        columns.append(("hi", _binary(pa.array([hi for _, _, hi in greatest], pa.binary()))))
        columns.append(("ts", _longs(np.array([deletion.ts for deletion in chosen], np.int64), None)))
        return _copy_batch(columns, len(chosen))


def clustering_encoder(plan: TablePlan) -> Callable[[Sequence[bytes | None]], bytes]:
    """The sort bytes of a clustering, or of a prefix of one; masked columns sort by their mask's text."""
    types = [Scalar("text") if key.masked else key.column.type for key in plan.clustering]
    return clustering_key(types, [key.column.descending for key in plan.clustering])


def _copy_batch(columns: Sequence[tuple[str, CopyColumn]], rows: int) -> CopyBatch:
    data = HEADER + encode_rows(rows, [column for _, column in columns]) + TRAILER
    return CopyBatch(tuple(name for name, _ in columns), rows, data)


def _binary(array: pa.Array) -> CopyColumn:
    """(data, offsets from 0, valid) of a binary array."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.offset or len(array) == 0:
        array = pa.concat_arrays([array, pa.array([], array.type)])
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    raw = data.to_pybytes()[ends[0] : ends[-1]] if data is not None else b""
    valid = None
    if array.null_count:
        valid = np.ascontiguousarray(array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
    return raw, np.ascontiguousarray(ends - ends[0]), valid


def _spread(array: pa.Array, row: Longs, count: int) -> CopyColumn:
    """Values to their rows; rows without one are NULL."""
    index = np.full(count, -1, np.int64)
    index[row] = np.arange(len(row))
    return _binary(array.take(pa.array(index, mask=index < 0)))


def _longs(values: Longs, valid: npt.NDArray[np.bool_] | None) -> CopyColumn:
    """8-byte big-endian fields."""
    count = len(values)
    offsets = np.arange(count + 1, dtype=np.int32) * 8
    marks = None if valid is None else np.ascontiguousarray(valid.astype(np.uint8))
    return values.astype(">i8").tobytes(), offsets, marks


def _longs_at(values: Longs, row: Longs, count: int) -> CopyColumn:
    spread = np.zeros(count, np.int64)
    valid = np.zeros(count, bool)
    spread[row] = values
    valid[row] = True
    return _longs(spread, valid)


def _keys(fields: dict[int, bytes]) -> Longs:
    return np.fromiter(fields, np.int64, len(fields))


def _all_of_size(array: pa.Array, size: int) -> bool:
    """Whether every value that is not null has `size` bytes (0 = any)."""
    if size == 0:
        return True
    lengths = pa.compute.binary_length(array)
    bounds = pa.compute.min_max(lengths).as_py()
    return bool(bounds["min"] in (size, None) and bounds["max"] in (size, None))
