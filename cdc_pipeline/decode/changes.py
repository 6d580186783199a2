"""A change as a record for people: keys and values as JSON text, as one line of JSON or as a row of an Arrow table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdc_pipeline.change import Bound, CellChange, CellKind, ChangeBatch, ChangeEvent
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType, json_string, to_json

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    import pyarrow as pa

Show = Callable[[Column, CqlType, bytes | None], str]
"""(column, type of the value, serialized value) -> JSON text; the place where a value may be masked."""

_OPERATIONS = {CellKind.TOMBSTONE: "deleted", CellKind.COLUMN_DELETION: "column_deleted"}
_ROWS_AT_ONCE = 20_000


def show_plain(column: Column, kind: CqlType, raw: bytes | None) -> str:
    """The value as it is; `null` for one that its type cannot read."""
    try:
        return "null" if raw is None else to_json(kind, "destination")(raw)
    except ValueError:
        return "null"


def change_record(event: ChangeEvent, table: Table, show: Show = show_plain) -> dict[str, Any]:
    """What happened, to which key, with which values. Keys, paths and values are JSON text; times are µs since 1970."""
    columns = {column.name: column for column in (*table.columns, *table.value_columns)}

    def key(values: Mapping[str, bytes | None]) -> str:
        shown = (f"{json_string(name)}: {show(columns[name], columns[name].type, raw)}" for name, raw in values.items())
        return "{" + ", ".join(shown) + "}"

    def bound(end: Bound | None) -> dict[str, Any] | None:
        if end is None:
            return None
        values = dict(zip((c.name for c in table.clustering), end.values, strict=False))
        return {"values": key(values), "inclusive": end.inclusive}

    return {
        "event_id": str(event.event_id),
        "event_type": str(event.event_type),
        "keyspace": event.keyspace,
        "table": event.table_name,
        "segment": event.position.segment,
        "position": event.position.offset,
        "partition_key": key(event.partition_key),
        "clustering_key": key(event.clustering_key),
        "static": event.is_static,
        "cells": [_cell(show, columns[cell.column], cell) for cell in event.cells],
        "timestamp_micros": event.timestamp_micros,
        "deleted_micros": event.deleted_micros,
        "ttl_seconds": event.ttl_seconds,
        "start": bound(event.start),
        "end": bound(event.end),
    }


def change_line(record: Mapping[str, Any]) -> str:
    """A record as one JSON object, values in place; `start` and `end` only where there are some."""
    shown = []
    for name, value in record.items():
        if name in ("partition_key", "clustering_key"):
            shown.append(f'"{name}": {value}')
        elif name == "cells":
            shown.append(f'"cells": [{", ".join(map(_cell_line, value))}]')
        elif name in ("start", "end"):
            if record["start"] is not None or record["end"] is not None:
                shown.append(f'"{name}": {_bound_line(value)}')
        else:
            shown.append(f'"{name}": {json.dumps(value, ensure_ascii=False)}')
    return "{" + ", ".join(shown) + "}"


def ordered_events(batches: Sequence[ChangeBatch]) -> Iterator[tuple[ChangeEvent, Table]]:
    """The changes of the batches of one stretch of the log, with their tables, in the log's order."""
    found = [
        (updates[index], index, event, batch.table)
        for batch in batches
        for updates in [batch.rows.column("update").to_pylist()]
        for index, event in batch.indexed_events()
    ]
    found.sort(key=lambda one: one[:2])
    return ((event, table) for _, _, event, table in found)


def records_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Records as an Arrow table; times as timestamps in µs, UTC."""
    import pyarrow as pa

    return pa.Table.from_pylist([_arrow_row(record) for record in records], schema=change_schema())


def to_arrow(batches: Iterable[ChangeBatch]) -> pa.Table:
    """The changes of batches, of one table or several, one row each, values unmasked: `change_schema` says how."""
    import pyarrow as pa

    tables, records = [change_schema().empty_table()], []
    for batch in batches:
        for event in batch.events():
            records.append(change_record(event, batch.table))
            if len(records) == _ROWS_AT_ONCE:
                tables.append(records_table(records))
                records = []
    return pa.concat_tables([*tables, records_table(records)])


def to_pandas(batches: Iterable[ChangeBatch]) -> pd.DataFrame:
    """`to_arrow` as a DataFrame; `cells` holds lists of dicts."""
    return to_arrow(batches).to_pandas()


def change_schema() -> pa.Schema:
    """The columns of `to_arrow` and of `decode --output FILE.parquet`: those of a line of `--format changes`."""
    import pyarrow as pa

    micros = pa.timestamp("us", "UTC")
    cell = [
        *((name, pa.string()) for name in ("column", "operation", "path", "value")),
        ("timestamp", micros),
        ("ttl_seconds", pa.int32()),
    ]
    bound = pa.struct([("values", pa.string()), ("inclusive", pa.bool_())])
    return pa.schema(
        [
            *((name, pa.string()) for name in ("event_id", "event_type", "keyspace", "table", "segment")),
            ("position", pa.int64()),
            ("partition_key", pa.string()),
            ("clustering_key", pa.string()),
            ("static", pa.bool_()),
            ("cells", pa.list_(pa.struct(cell))),
            ("timestamp", micros),
            ("deleted", micros),
            ("ttl_seconds", pa.int32()),
            ("start", bound),
            ("end", bound),
        ]
    )


def _arrow_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = {name.replace("_micros", ""): value for name, value in record.items()}
    row["cells"] = [{name.replace("_micros", ""): value for name, value in cell.items()} for cell in record["cells"]]
    return row


def _cell(show: Show, column: Column, cell: CellChange) -> dict[str, Any]:
    path_type, value_type = _part_types(column.type, cell.path)
    path = None
    if cell.path is not None:
        if path_type is None:
            path = f'"{cell.path.hex()}"'
        elif isinstance(column.type, SetType):
            path = show(column, path_type, cell.path)
        else:
            path = show_plain(column, path_type, cell.path)
    gone = cell.kind in (CellKind.TOMBSTONE, CellKind.COLUMN_DELETION)
    return {
        "column": column.name,
        "operation": _OPERATIONS.get(cell.kind, "set"),
        "path": path,
        "value": None if gone else show(column, value_type, cell.value),
        "timestamp_micros": cell.timestamp_micros,
        "ttl_seconds": cell.ttl_seconds,
    }


def _cell_line(cell: Mapping[str, Any]) -> str:
    return (
        f'{{"column": {json_string(cell["column"])}, "operation": "{cell["operation"]}", '
        f'"path": {cell["path"] or "null"}, "value": {cell["value"] or "null"}, '
        f'"timestamp_micros": {cell["timestamp_micros"]}, "ttl_seconds": {json.dumps(cell["ttl_seconds"])}}}'
    )


def _bound_line(bound: Mapping[str, Any] | None) -> str:
    if bound is None:
        return "null"
    return f'{{"values": {bound["values"]}, "inclusive": {json.dumps(bound["inclusive"])}}}'


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
