"""The cells of a multi-cell column as one `cdc.cell[]` field per row (`array_recv`, `record_recv`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.copy_cy import encode_cells
from cdc_pipeline.load.postgres.ddl import TOMBSTONE
from cdc_pipeline.load.postgres.fields import Longs
from cdc_pipeline.load.postgres.plan import ValueColumn
from cdc_pipeline.load.postgres.types import CellsType
from cdc_pipeline.transform import Cells, ColumnDeletions
from cdc_pipeline.types.key_arrays import arranged

Rank = tuple[int, int, bytes, bytes]
"""Writetime, x, serialized bytes, and what is shown, which differs where two forms of one value are one path."""


@dataclass
class CellArrays:
    """Encodes one column's cells, row by row; `failures` maps rows of the batch to why they must be parked."""

    value: ValueColumn
    kind: CellsType
    cell_oid: int
    table: str
    failures: dict[int, RowError] = field(default_factory=dict)

    def encode(self, cells: Cells, at: Longs, deletions: ColumnDeletions) -> tuple[Longs, pa.BinaryArray]:
        """(merged rows, rising; their fields) of the cells at these indexes, as `cdc.merge_cells` leaves them: by path,
        without those that the column's deletion in this batch covers."""
        at = _beyond(cells, at, deletions)
        take = pa.array(at)
        raw, values = cells.path.take(take).fill_null(b""), cells.value.take(take)
        paths = self._paths(raw)
        texts = self._texts(raw, values, cells.x[at] != TOMBSTONE)
        whole = np.ones(len(at), bool)
        for cell, why in {**paths.unfit, **texts.unfit}.items():
            whole[cell] = False
            self._fail(int(cells.source[at[cell]]), why)
        row, ts, x = cells.row[at], cells.ts[at], cells.x[at]

        def rank(cell: int) -> Rank:
            return int(ts[cell]), int(x[cell]), values[cell].as_py() or b"", texts.values[cell].as_py() or b""

        order = _greatest(np.flatnonzero(whole), row, paths.values, rank)
        data, ends = encode_cells(order, row, paths.values, ts, x, values, texts.values, self.cell_oid)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
        return np.unique(row[order]), pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers)

    def _paths(self, raw: pa.BinaryArray) -> _Typed:
        """How the paths sort."""
        known = raw.dictionary_encode()
        found = _typed([(self.kind.path, (path,)) for path in known.dictionary.to_pylist()])
        unfit = {}
        if found.unfit:
            codes = enumerate(known.indices.to_pylist())
            unfit = {cell: found.unfit[code] for cell, code in codes if code in found.unfit}
        return _Typed(found.values.take(known.indices), unfit)

    def _texts(self, paths: pa.BinaryArray, values: pa.BinaryArray, live: npt.NDArray[np.bool_]) -> _Typed:
        """What stands in the view for each live cell."""
        render = self.kind.fragment
        return _typed(
            [
                (render, (path, value or b"")) if alive else None
                for path, value, alive in zip(paths.to_pylist(), values.to_pylist(), live.tolist(), strict=True)
            ]
        )

    def _fail(self, source: int, why: str) -> None:
        column = self.value.column
        self.failures[source] = ValueOutOfRange(f"{self.table}.{column.name}", column.type.cql, self.kind.sql, why)


@dataclass(frozen=True)
class _Typed:
    """A value per cell, and why some have none."""

    values: pa.BinaryArray
    unfit: dict[int, str]


def _typed(calls: list[tuple[Callable[..., bytes | str | None], tuple[bytes, ...]] | None]) -> _Typed:
    found: list[bytes | None] = []
    unfit: dict[int, str] = {}
    for at, call in enumerate(calls):
        value: bytes | str | None = None
        if call is not None:
            try:
                value = call[0](*call[1])
            except Unfit as error:
                unfit[at] = str(error)
            except ValueError:
                unfit[at] = "bytes that are none of the type's"
        found.append(value.encode() if isinstance(value, str) else value)
    return _Typed(pa.array(found, pa.binary()), unfit)


def _beyond(cells: Cells, at: Longs, deletions: ColumnDeletions) -> Longs:
    """The cells that the column's deletion does not cover."""
    if not len(deletions.row) or not len(at):
        return at
    place = np.full(int(max(cells.row[at].max(), deletions.row.max())) + 1, -1, np.int64)
    place[deletions.row] = np.arange(len(deletions.row))
    covering = place[cells.row[at]]
    return at[(covering < 0) | (cells.ts[at] > deletions.ts[covering])]


def _greatest(cells: Longs, row: Longs, paths: pa.BinaryArray, rank: Callable[[int], Rank]) -> Longs:
    """These cells by row and path; of serialized forms of one path, as 1.0 and 1.00, the greatest."""
    if not len(cells):
        return cells
    numbers = row[cells].astype(">i8").tobytes()
    ends = pa.py_buffer(np.arange(len(cells) + 1, dtype=np.int32) * 8)
    rows = pa.Array.from_buffers(pa.binary(), len(cells), [None, ends, pa.py_buffer(numbers)])
    order, new = arranged([rows, paths.take(pa.array(cells))])
    ordered: Longs = cells[order]
    if new.all():
        return ordered
    begins = np.flatnonzero(new)
    groups = np.split(ordered, begins[1:])
    return np.array([max(group.tolist(), key=rank) for group in groups], np.int64)
