"""A change, of a row or of the schema, as one readable JSON line."""

from __future__ import annotations

import json
from typing import Any

from cdc_pipeline.change import Bound, CellKind, ChangeEvent, SchemaChange
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.transform import TableMasks, mask_input
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType, json_string, to_json


def change_line(event: ChangeEvent, table: Table, masks: TableMasks | None) -> str:
    """One object: what happened, to which key, with which values; masked by `masks` where they are given."""
    columns = {column.name: column for column in (*table.columns, *table.value_columns)}
    show = _Shown(masks)

    def key(values: dict[str, bytes | None]) -> str:
        shown = (
            f"{json_string(name)}: {show.value(columns[name], columns[name].type, raw)}" for name, raw in values.items()
        )
        return "{" + ", ".join(shown) + "}"

    def bound(end: Bound | None) -> str:
        if end is None:
            return "null"
        values = dict(zip((c.name for c in table.clustering), end.values, strict=False))
        return f'{{"values": {key(values)}, "inclusive": {json.dumps(end.inclusive)}}}'

    cells = ", ".join(_cell(show, columns[cell.column], cell) for cell in event.cells)
    parts = [
        f'"event_id": "{event.event_id}"',
        f'"event_type": "{event.event_type}"',
        f'"keyspace": {json_string(event.keyspace)}',
        f'"table": {json_string(event.table_name)}',
        f'"segment": {json_string(event.position.segment)}',
        f'"position": {event.position.offset}',
        f'"partition_key": {key(dict(event.partition_key))}',
        f'"clustering_key": {key(dict(event.clustering_key))}',
        f'"static": {json.dumps(event.is_static)}',
        f'"cells": [{cells}]',
        f'"timestamp_micros": {event.timestamp_micros}',
        f'"deleted_micros": {json.dumps(event.deleted_micros)}',
        f'"ttl_seconds": {json.dumps(event.ttl_seconds)}',
    ]
    if event.start is not None or event.end is not None:
        parts.append(f'"start": {bound(event.start)}, "end": {bound(event.end)}')
    return "{" + ", ".join(parts) + "}"


class _Shown:
    """Values as JSON text, masked where the policy says so."""

    def __init__(self, masks: TableMasks | None) -> None:
        self._masks = masks

    def value(self, column: Column, kind: CqlType, raw: bytes | None) -> str:
        if raw is None:
            return "null"
        if self._masks is not None and self._masks.is_excluded(column):
            return "null"
        masker = self._masks.masker(column.name) if self._masks is not None else None
        try:
            if masker is None:
                return to_json(kind, "destination")(raw)
            text = mask_input(kind)(raw)
        except ValueError:
            return "null"
        return "null" if text is None else json_string(masker.mask([text])[0] or "")


def _cell(show: _Shown, column: Column, cell: object) -> str:
    from cdc_pipeline.change import CellChange

    assert isinstance(cell, CellChange)
    path_type, value_type = _part_types(column.type, cell.path)
    hidden_path = isinstance(column.type, SetType)
    path = "null"
    if cell.path is not None:
        path = (
            show.value(column, path_type, cell.path)
            if hidden_path and path_type is not None
            else (to_json(path_type, "destination")(cell.path) if path_type is not None else f'"{cell.path.hex()}"')
        )
    value = (
        "null"
        if cell.kind in (CellKind.TOMBSTONE, CellKind.COLUMN_DELETION)
        else show.value(column, value_type, cell.value)
    )
    what = {CellKind.TOMBSTONE: "deleted", CellKind.COLUMN_DELETION: "column_deleted"}.get(cell.kind, "set")
    return (
        f'{{"column": {json_string(column.name)}, "operation": "{what}", "path": {path}, "value": {value}, '
        f'"timestamp_micros": {cell.timestamp_micros}, "ttl_seconds": {json.dumps(cell.ttl_seconds)}}}'
    )


def _part_types(kind: CqlType, path: bytes | None) -> tuple[CqlType | None, CqlType]:
    """(type of the path where it is a value, type of the cell's value)."""
    if not kind.multi_cell or path is None:
        return None, kind
    if isinstance(kind, MapType):
        return kind.key, kind.value
    if isinstance(kind, SetType):
        return kind.element, kind.element
    if isinstance(kind, ListType):
        return None, kind.element
    assert isinstance(kind, UserType)
    index = int.from_bytes(path, "big")
    return None, kind.field_types[index] if index < len(kind.field_types) else kind


def schema_change_json(change: SchemaChange) -> dict[str, Any]:
    """What DDL or TRUNCATE did, for a line of JSON."""
    return {
        "segment": change.position.segment,
        "position": change.position.offset,
        "change": str(change.kind),
        "table": change.keyspace if change.table is None else f"{change.keyspace}.{change.table}",
        "table_id": None if change.table_id is None else str(change.table_id),
        "column": change.column,
        "detail": change.detail,
        "truncated_micros": change.truncated_micros,
    }
