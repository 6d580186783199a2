"""Changes written down by hand, and batches made of them: what the decoder would give, without a log."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP, Bound, CellKind, ChangeBatch, RowKind
from cdc_pipeline.schema import Column, ColumnKind, Table
from cdc_pipeline.types import CqlType, holds, parse_type

USER_TYPES = {"name": (("first", "Last"), ("text", "int"))}
CAPTURED_AT = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)

_ROW_TYPES = {"kind": pa.int8(), "update": pa.int64(), "live_ttl": pa.int32()}
_CELL_TYPES = {"column": pa.int32(), "kind": pa.int8(), "ttl": pa.int32()}


def cql(text: str) -> CqlType:
    """A type of keyspace `ks`, which has the user type `name`."""
    return parse_type(text, "ks", USER_TYPES)


def table(
    name: str = "t",
    *,
    key: Sequence[tuple[str, str]] = (("pk", "int"),),
    clustering: Sequence[tuple[str, str]] = (),
    static: Sequence[tuple[str, str]] = (),
    regular: Sequence[tuple[str, str]] = (("v", "text"),),
    keyspace: str = "ks",
) -> Table:
    """A table of (column, type) pairs; a clustering type may end with ` desc`."""
    columns: list[Column] = []
    for kind, spec in (
        (ColumnKind.PARTITION_KEY, key),
        (ColumnKind.CLUSTERING, clustering),
        (ColumnKind.STATIC, sorted(static)),
        (ColumnKind.REGULAR, sorted(regular)),
    ):
        for at, (column, type_) in enumerate(spec):
            columns.append(Column(column, kind, cql(type_.removesuffix(" desc")), at, type_.endswith(" desc")))
    return Table(keyspace, name, uuid.uuid5(uuid.NAMESPACE_OID, f"{keyspace}.{name}"), tuple(columns), cdc=True)


@dataclass(frozen=True)
class Cell:
    """A cell: `value` None is a tombstone, `expires` (s) makes it expire; `deletes` makes it a column's deletion."""

    column: str
    ts: int
    value: bytes | None = None
    path: bytes | None = None
    expires: int | None = None
    deletes: bool = False
    ttl: int = 60

    @property
    def kind(self) -> int:
        """The decoder's number for it."""
        if self.deletes:
            return CellKind.COLUMN_DELETION
        if self.value is None:
            return CellKind.TOMBSTONE
        return CellKind.LIVE if self.expires is None else CellKind.EXPIRING


@dataclass(frozen=True)
class Change:
    """One row, static row, range tombstone or partition deletion; `at`: its position in the log, where it matters."""

    key: tuple[bytes, ...]
    clustering: tuple[bytes | None, ...] = ()
    cells: tuple[Cell, ...] = ()
    kind: int = RowKind.ROW
    live: int | None = None
    live_expires: int | None = None
    live_ttl: int = 60
    deleted: int | None = None
    bounds: tuple[Bound, Bound] | None = None
    at: int | None = None


def context(*shards: tuple[int, int, int]) -> bytes:
    """A counter's context of global shards (counter id, clock, count)."""
    header = len(shards).to_bytes(2, "big") + b"".join(
        (at - 2**15).to_bytes(2, "big", signed=True) for at in range(len(shards))
    )
    return header + b"".join(
        identity.to_bytes(16, "big") + clock.to_bytes(8, "big", signed=True) + count.to_bytes(8, "big", signed=True)
        for identity, clock, count in shards
    )


def batch(of: Table, changes: Sequence[Change], *, segment: str = "CommitLog-7-1.log", first: int = 0) -> ChangeBatch:
    """The batch of these changes; each has its position or one by its number, the first behind `first`.

    Where a key may be written in several forms they come in the order of their positions, as in a log.
    """
    if any(holds(column.type, "decimal") for column in of.clustering):
        changes = sorted(changes, key=lambda change: change.at or 0)
    rows: dict[str, list[object]] = {
        name: []
        for name in (
            *("kind", "update", "position", "live_ts", "live_ttl", "live_local", "del_ts", "del_local", "cell_end"),
            *(f"key{at}" for at in range(len(of.partition_key))),
            *(f"ck{at}" for at in range(len(of.clustering))),
        )
    }
    cells: dict[str, list[object]] = {name: [] for name in ("column", "kind", "ts", "ttl", "local", "path", "value")}
    for number, change in enumerate(changes):
        for cell in change.cells:
            _add_cell(cells, of.value_ids[cell.column], cell)
        position = first + 100 * (number + 1) if change.at is None else change.at
        _add_row(rows, change, number, position, len(cells["ts"]))
    return ChangeBatch(
        table=of,
        segment=segment,
        make_rows=partial(_record_batch, rows, _ROW_TYPES),
        make_cells=partial(_record_batch, cells, _CELL_TYPES),
        ranges=tuple(change.bounds for change in changes if change.bounds is not None),
        captured_at=CAPTURED_AT,
    )


def _add_cell(cells: dict[str, list[object]], column: int, cell: Cell) -> None:
    cells["column"].append(column)
    cells["kind"].append(cell.kind)
    cells["ts"].append(cell.ts)
    cells["ttl"].append(cell.ttl if cell.expires is not None else 0)
    cells["local"].append(cell.expires if cell.expires is not None else 7)
    cells["path"].append(cell.path)
    cells["value"].append(cell.value)


def _add_row(rows: dict[str, list[object]], change: Change, number: int, position: int, cell_end: int) -> None:
    expiring = change.live_expires is not None
    numbers = {
        "kind": change.kind,
        "update": number,
        "position": position,
        "live_ts": NO_TIMESTAMP if change.live is None else change.live,
        "live_ttl": change.live_ttl if expiring else 0,
        "live_local": change.live_expires if expiring else 0,
        "del_ts": NO_TIMESTAMP if change.deleted is None else change.deleted,
        "del_local": 0,
        "cell_end": cell_end,
    }
    for name, value in numbers.items():
        rows[name].append(value)
    for at, part in enumerate(change.key):
        rows[f"key{at}"].append(part)
    for name in rows:
        if name.startswith("ck"):
            at = int(name[2:])
            rows[name].append(change.clustering[at] if at < len(change.clustering) else None)


def _record_batch(columns: dict[str, list[object]], types: dict[str, pa.DataType]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: _array(name, values, types) for name, values in columns.items()})


def _array(name: str, values: list[object], types: dict[str, pa.DataType]) -> pa.Array:
    if name in ("path", "value") or name.startswith(("key", "ck")):
        return pa.array(values, pa.binary())
    return pa.array(values, types.get(name, pa.int64()))
