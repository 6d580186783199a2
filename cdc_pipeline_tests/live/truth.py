"""The state that Cassandra's rules make of a log, beside what `SELECT` answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cdc_pipeline.change import NO_TIMESTAMP, CellKind, ChangeBatch, Position, RowKind
from cdc_pipeline.schema import Table
from cdc_pipeline.types import UserType
from cdc_pipeline_tests.live.client import Client
from cdc_pipeline_tests.live.schemas import quoted
from cdc_pipeline_tests.load.changes import Cell, Change
from cdc_pipeline_tests.load.reference import Reference, Row
from cdc_pipeline_tests.types.values import fields, parts


def changes_of(batch: ChangeBatch, after: Position) -> Iterator[Change]:
    """The changes of a batch behind a position, as the reference takes them."""
    table = batch.table
    rows = batch.rows.to_pylist()
    cells = batch.cells.to_pylist()
    bounds = iter(batch.ranges)
    begin = 0
    for row in rows:
        own, begin = cells[begin : row["cell_end"]], row["cell_end"]
        ends = next(bounds) if row["kind"] == RowKind.RANGE else None
        if row["kind"] == RowKind.NOTHING or Position(batch.segment, row["position"]) <= after:
            continue
        yield Change(
            key=tuple(row[f"key{at}"] for at in range(len(table.partition_key))),
            clustering=tuple(row[f"ck{at}"] for at in range(len(table.clustering))),
            cells=tuple(_cell(table, cell) for cell in own),
            kind=row["kind"],
            live=None if row["live_ts"] == NO_TIMESTAMP else row["live_ts"],
            live_expires=row["live_local"] if row["live_ttl"] else None,
            live_ttl=row["live_ttl"],
            deleted=None if row["del_ts"] == NO_TIMESTAMP else row["del_ts"],
            bounds=ends,
        )


def _cell(table: Table, cell: Mapping[str, Any]) -> Cell:
    return Cell(
        column=table.value_columns[cell["column"]].name,
        ts=cell["ts"],
        value=cell["value"],
        path=cell["path"],
        expires=cell["local"] if cell["kind"] == CellKind.EXPIRING else None,
        deletes=cell["kind"] == CellKind.COLUMN_DELETION,
        ttl=cell["ttl"],
    )


def merged(table: Table, changes: Iterable[Change]) -> list[Row]:
    """The rows that these changes leave now."""
    state = Reference(table)
    for change in changes:
        state.add(change)
    return state.select(int(time.time()))


def selected(client: Client, table: Table) -> list[Row]:
    """The rows of a table as Cassandra answers."""
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in client.select(_name(table), [quoted(name) for name in names])]


def comparable(table: Table, rows: Iterable[Row]) -> list[str]:
    """Rows as text, sorted; user types filled up to all of their fields."""
    return sorted(repr([_full(table, column.name, row[column.name]) for column in table.columns]) for row in rows)


def _full(table: Table, name: str, value: bytes | None) -> bytes | None:
    kind = next(column.type for column in table.columns if column.name == name)
    if value and isinstance(kind, UserType) and kind.multi_cell:
        return fields(*(part for _, part in parts(kind, value)))
    return value


def _name(table: Table) -> str:
    return f"{quoted(table.keyspace)}.{quoted(table.name)}"
