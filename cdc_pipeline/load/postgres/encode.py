"""A masked batch as binary COPY columns, typed for its plan; values that have no exact form name their row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch
from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.load.clustering import Clusterings, written_at
from cdc_pipeline.load.postgres.cells import CellArrays
from cdc_pipeline.load.postgres.copy_cy import encode_copy
from cdc_pipeline.load.postgres.ddl import CLUSTERING, DELETED, LIVE_W, LIVE_X
from cdc_pipeline.load.postgres.fields import BinaryField, Field, Index, LongField, Longs
from cdc_pipeline.load.postgres.plan import WRITTEN, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import CellsType, Unfit, ValueType
from cdc_pipeline.transform import ColumnDeletions, MaskedBatch, RangeDeletion, Rows, taken

CopyColumns = list[tuple[str, Field]]


@dataclass(frozen=True)
class CopyBatch:
    """Rows for one table: the columns that are sent, quoted, and the whole COPY stream; `inserts`: each row is one."""

    columns: tuple[str, ...]
    rows: int
    data: bytes | bytearray
    inserts: bool = False


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
    merged = masked.merged
    encoder = _Encoder(plan, cell_oid, merged.batch)
    rows = encoder.rows(merged.rows, plan.regular, static=False)
    static = encoder.rows(merged.static, plan.static, static=True) if plan.static else None
    ranges = encoder.ranges(merged.ranges) if merged.ranges else None
    return EncodedTable(plan, rows, static, ranges, encoder.failures)


@dataclass
class _Encoder:
    plan: TablePlan
    cell_oid: int
    batch: ChangeBatch
    failures: dict[int, RowError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clusterings = Clusterings(self.plan.table, self.plan.clustering)

    def rows(self, rows: Rows, values: Sequence[ValueColumn], *, static: bool) -> CopyBatch | None:
        """Rows with their keys, liveness, deletion, and the columns that any of them touches."""
        if not len(rows):
            return None
        columns: CopyColumns = []
        for key, array in zip(self.plan.partition_key, rows.keys, strict=True):
            columns += self._key(key, array, rows.source)
        if not static:
            for key, array in zip(self.plan.clustering, rows.clustering, strict=True):
                columns.append((key.sql_name, self._typed(key.column.name, key.column, key.type, array, rows.source)))
            if self.plan.has_clustering:
                columns.append((CLUSTERING, BinaryField(self.clusterings.of(rows, self.failures))))
            if self.plan.formed:
                columns.append((WRITTEN, self._written(rows.source)))
            columns.append((LIVE_W, LongField(rows.live_ts)))
            if rows.live_x.any():
                columns.append((LIVE_X, LongField(rows.live_x, null=0)))
        if (rows.del_ts != NO_TIMESTAMP).any():
            columns.append((DELETED, LongField(rows.del_ts)))
        for value in values:
            columns += self._value(value, rows)
        inserts = not static and bool((rows.live_ts != NO_TIMESTAMP).all()) and DELETED not in dict(columns)
        return _copy_batch(columns, len(rows), inserts=inserts)

    def _key(self, key: KeyColumn, array: pa.Array, source: Longs) -> CopyColumns:
        typed = (key.sql_name, self._typed(key.column.name, key.column, key.type, array, source))
        return [typed, (key.raw_name, BinaryField(array))] if key.by_bytes else [typed]

    def _written(self, source: Longs) -> Field:
        """Segment id and position in the log, as bytes that sort."""
        places = np.stack(written_at(self.batch, source), axis=1).astype(">u8").tobytes()
        fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(source), [None, pa.py_buffer(places)])
        return BinaryField(fixed.cast(pa.binary()))

    def _value(self, value: ValueColumn, rows: Rows) -> CopyColumns:
        """The parts of one column; nothing when no row touches it."""
        if isinstance(value.type, CellsType):
            return self._cells(value, value.type, rows)
        at = np.flatnonzero(rows.cells.column == value.id)
        if not len(at):
            return []
        cells, index = rows.cells, _index(rows.cells.row[at], len(rows))
        serialized = taken(cells.value, at)
        typed = self._encoded(value.column.name, value.column, value.type, serialized, cells.source[at])
        parts: CopyColumns = [
            (value.part("v"), BinaryField(typed, index)),
            (value.part("w"), LongField(cells.ts[at], index)),
        ]
        x = cells.x[at]
        if x.any():
            parts.append((value.part("x"), LongField(x, index, null=0)))
        if value.bytes_beside:
            parts.append((value.part("b"), BinaryField(serialized, index)))
        return parts

    def _cells(self, value: ValueColumn, kind: CellsType, rows: Rows) -> CopyColumns:
        at = np.flatnonzero(rows.cells.column == value.id)
        gone = np.flatnonzero(rows.deletions.column == value.id)
        if not len(at) and not len(gone):
            return []
        deletions = ColumnDeletions(rows.deletions.row[gone], rows.deletions.column[gone], rows.deletions.ts[gone])
        arrays = CellArrays(value, kind, self.cell_oid, self.plan.table.full_name)
        held, fields = arrays.encode(rows.cells, at, deletions)
        self.failures.update(arrays.failures)
        return [
            (value.part("v"), BinaryField(fields, _index(held, len(rows)))),
            (value.part("d"), LongField(deletions.ts, _index(deletions.row, len(rows)))),
        ]

    def _typed(self, name: str, column: object, kind: ValueType, array: pa.Array, source: Longs) -> Field:
        return BinaryField(self._encoded(name, column, kind, array, source))

    def _encoded(self, name: str, column: object, kind: ValueType, array: pa.Array, source: Longs) -> pa.Array:
        """Each value as its binary field; what does not fit becomes NULL and a failure of its row."""
        at_once = kind.at_once(array) if kind.at_once is not None else None
        if at_once is not None:
            return at_once
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
        greatest: dict[tuple[tuple[bytes, ...], bytes, bytes], RangeDeletion] = {}
        for lo, hi, deletion in self.clusterings.bounded(ranges, self.failures):
            known = greatest.setdefault((deletion.key, lo, hi), deletion)
            if deletion.ts > known.ts:
                greatest[deletion.key, lo, hi] = deletion
        if not greatest:
            return None
        chosen = list(greatest.values())
        source = np.array([deletion.source for deletion in chosen], np.int64)
        columns: CopyColumns = []
        for index, key in enumerate(self.plan.partition_key):
            columns += self._key(key, pa.array([deletion.key[index] for deletion in chosen], pa.binary()), source)
        unfit = {one.key: self.failures[one.source] for one in chosen if one.source in self.failures}
        self.failures |= {one.source: unfit[one.key] for one in ranges if one.key in unfit}
        columns.append(("lo", BinaryField(pa.array([lo for _, lo, _ in greatest], pa.binary()))))
        columns.append(("hi", BinaryField(pa.array([hi for _, _, hi in greatest], pa.binary()))))
        columns.append(("ts", LongField(np.array([deletion.ts for deletion in chosen], np.int64))))
        return _copy_batch(columns, len(chosen))


def _copy_batch(columns: CopyColumns, rows: int, *, inserts: bool = False) -> CopyBatch:
    data = encode_copy(rows, [field for _, field in columns])
    return CopyBatch(tuple(name for name, _ in columns), rows, data, inserts)


def _index(row: Longs, count: int) -> Index:
    """Per row the place of its value among those of these rows, -1 where it has none."""
    index = np.full(count, -1, np.int32)
    index[row] = np.arange(len(row), dtype=np.int32)
    return index
