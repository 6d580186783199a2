"""The cells of a multi-cell column as one `cdc.cell[]` field per row (`array_recv`, `record_recv`)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.load.postgres.ddl import TOMBSTONE
from cdc_pipeline.load.postgres.plan import ValueColumn
from cdc_pipeline.load.postgres.types import CellsType, Unfit
from cdc_pipeline.transform import Cells

Longs = npt.NDArray[np.int64]

_BYTEA, _INT8, _TEXT = 17, 20, 25
_NULL = struct.pack(">i", -1)


@dataclass
class CellArrays:
    """Encodes one column's cells, row by row; `failures` maps rows of the batch to why they must be parked."""

    value: ValueColumn
    kind: CellsType
    cell_oid: int
    table: str
    failures: dict[int, RowError] = field(default_factory=dict)

    def encode(self, cells: Cells, at: Longs, deleted: Mapping[int, int]) -> dict[int, bytes]:
        """Merged row -> field, for the cells at these indexes, as `cdc.merge_cells` leaves them: by path, without
        those that the column's deletion in this batch (merged row -> µs) covers."""
        take = pa.array(at)
        paths, values = cells.path.take(take).to_pylist(), cells.value.take(take).to_pylist()
        by_row: dict[int, dict[bytes, tuple[tuple[int, int, bytes, bytes], bytes]]] = {}
        numbers = (cells.row[at].tolist(), cells.ts[at].tolist(), cells.x[at].tolist(), cells.source[at].tolist())
        for row, ts, x, source, path, value in zip(*numbers, paths, values, strict=True):
            try:
                sorted_path = self.kind.path(path or b"")
                text = None if x == TOMBSTONE else self.kind.fragment(path or b"", value or b"")
                shown = None if text is None else text.encode()
                record = _cell(sorted_path, ts, x, value, shown)
            except Unfit as error:
                self._fail(source, str(error))
            except ValueError:
                self._fail(source, "bytes that are none of the type's")
            else:
                if ts <= deleted.get(row, ts - 1):
                    continue
                rank = (ts, x, value or b"", shown or b"")
                known = by_row.setdefault(row, {}).setdefault(sorted_path, (rank, record))
                if rank > known[0]:  # two serialized forms of one path, as 1.0 and 1.00
                    by_row[row][sorted_path] = (rank, record)
        head = struct.pack(">iiI", 1, 0, self.cell_oid)
        return {
            row: head + struct.pack(">ii", len(many), 1) + b"".join(many[path][1] for path in sorted(many))
            for row, many in by_row.items()
        }

    def _fail(self, source: int, why: str) -> None:
        column = self.value.column
        self.failures[source] = ValueOutOfRange(f"{self.table}.{column.name}", column.type.cql, self.kind.sql, why)


def _cell(sorted_path: bytes, ts: int, x: int, value: bytes | None, shown: bytes | None) -> bytes:
    record = b"".join(
        (
            struct.pack(">i", 5),
            _field(_BYTEA, sorted_path),
            struct.pack(">Iiq", _INT8, 8, ts),
            struct.pack(">Iiq", _INT8, 8, x) if x else struct.pack(">I", _INT8) + _NULL,
            _field(_BYTEA, value),
            _field(_TEXT, shown),
        )
    )
    return struct.pack(">i", len(record)) + record


def _field(oid: int, raw: bytes | None) -> bytes:
    if raw is None:
        return struct.pack(">I", oid) + _NULL
    return struct.pack(">Ii", oid, len(raw)) + raw
