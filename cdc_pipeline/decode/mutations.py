"""The public dump form: one JSON line for each partition update, in the log's order (`mutation-jsonl.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cdc_pipeline.change import NO_TIMESTAMP, Bound, CellKind, ChangeBatch, RowKind
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType, json_string, to_json

Render = Callable[[bytes], str]


def dump_lines(batches: Sequence[ChangeBatch]) -> Iterator[str]:
    """The lines of the batches of one segment, ordered as the updates lie in it; without line ends."""
    lines: list[tuple[int, str]] = []
    for batch in batches:
        lines.extend(_TableDump(batch).lines())
    lines.sort(key=lambda numbered: numbered[0])
    for _, line in lines:
        yield line


class _TableDump:
    """The lines of one table's batch."""

    def __init__(self, batch: ChangeBatch) -> None:
        table = batch.table
        self._rows = batch.rows.to_pydict()
        self._cells = batch.cells.to_pydict()
        self._ranges = batch.ranges
        self._names = [(json_string(column.name), column) for column in table.value_columns]
        self._elements = [_cell_json(column.type) for column in table.value_columns]
        self._key = [_value_json(column) for column in table.partition_key]
        self._clustering = [_value_json(column) for column in table.clustering]
        self._head = f'{{"segment":{json_string(batch.segment)},"position":'
        self._table = _table_part(table)
        self._tail = f'],"cdc":{"true" if table.cdc else "false"}}}'

    def lines(self) -> Iterator[tuple[int, str]]:
        """(number of the update, line)."""
        updates = self._rows["update"]
        first = 0
        begin = seen_ranges = 0
        while first < len(updates):
            last = first
            while last + 1 < len(updates) and updates[last + 1] == updates[first]:
                last += 1
            line, begin, seen_ranges = self._line(first, last + 1, begin, seen_ranges)
            yield updates[first], line
            first = last + 1

    def _line(self, first: int, stop: int, begin: int, seen_ranges: int) -> tuple[str, int, int]:
        deletion = static = "null"
        rows: list[str] = []
        ranges: list[str] = []
        for index in range(first, stop):
            kind = self._rows["kind"][index]
            end = self._rows["cell_end"][index]
            if kind == RowKind.PARTITION:
                deletion = self._deletion(index)
            elif kind == RowKind.STATIC:
                static = self._row(index, begin, end, "")
            elif kind == RowKind.ROW:
                values = (self._value(c, self._rows[f"ck{i}"][index]) for i, c in enumerate(self._clustering))
                rows.append(self._row(index, begin, end, ",".join(values)))
            elif kind == RowKind.RANGE:
                ranges.append(self._range(index, *self._ranges[seen_ranges]))
                seen_ranges += 1
            begin = end
        key = ",".join(self._value(c, self._rows[f"key{i}"][first]) for i, c in enumerate(self._key))
        line = (
            f'{self._head}{self._rows["position"][first]}{self._table}{key}],"deletion":{deletion},"static":{static},'
            f'"rows":[{",".join(rows)}],"ranges":[{",".join(ranges)}{self._tail}'
        )
        return line, begin, seen_ranges

    @staticmethod
    def _value(column: tuple[str, Render], raw: bytes | None) -> str:
        name, render = column
        if raw is None:
            return f'{{"name":{name},"hex":null,"json":null}}'
        return f'{{"name":{name},"hex":"{raw.hex()}","json":{render(raw)}}}'

    def _deletion(self, index: int) -> str:
        timestamp = self._rows["del_ts"][index]
        if timestamp == NO_TIMESTAMP:
            return "null"
        return f'{{"timestamp":{timestamp},"local":{self._rows["del_local"][index]}}}'

    def _row(self, index: int, begin: int, end: int, clustering: str) -> str:
        liveness = "null"
        timestamp = self._rows["live_ts"][index]
        if timestamp != NO_TIMESTAMP:
            ttl, expires = self._rows["live_ttl"][index], self._rows["live_local"][index]
            liveness = f'{{"timestamp":{timestamp},"ttl":{ttl or "null"},"expires":{expires if ttl else "null"}}}'
        cells: list[str] = []
        deletions: list[str] = []
        for cell in range(begin, end):
            (deletions if self._cells["kind"][cell] == CellKind.COLUMN_DELETION else cells).append(self._cell(cell))
        return (
            f'{{"clustering":[{clustering}],"liveness":{liveness},"deletion":{self._deletion(index)},'
            f'"complex_deletions":{{{",".join(deletions)}}},"cells":[{",".join(cells)}]}}'
        )

    def _cell(self, cell: int) -> str:
        cells = self._cells
        column, kind, timestamp = cells["column"][cell], cells["kind"][cell], cells["ts"][cell]
        name = self._names[column][0]
        if kind == CellKind.COLUMN_DELETION:
            return f'{name}:{{"timestamp":{timestamp},"local":{cells["local"][cell]}}}'
        path, value = cells["path"][cell], cells["value"][cell]
        shown_path = "null" if path is None else f'"{path.hex()}"'
        shown = (
            '"hex":null,"json":null'
            if value is None
            else f'"hex":"{value.hex()}","json":{self._json(column, path, value)}'
        )
        local = cells["local"][cell]
        ttl, expires = (cells["ttl"][cell], local) if kind == CellKind.EXPIRING else ("null", "null")
        gone = ("true", local) if kind == CellKind.TOMBSTONE else ("false", "null")
        return (
            f'{{"column":{name},"path":{shown_path},{shown},"timestamp":{timestamp},"ttl":{ttl},"expires":{expires},'
            f'"tombstone":{gone[0]},"local":{gone[1]}}}'
        )

    def _json(self, column: int, path: bytes | None, value: bytes) -> str:
        element = self._elements[column]
        if element is None:
            return "null"
        if isinstance(element, tuple):
            index = int.from_bytes(path or b"", "big")
            return str(element[index](value)) if index < len(element) else "null"
        return str(element(value))

    def _range(self, index: int, start: Bound, end: Bound) -> str:
        timestamp, local = self._rows["del_ts"][index], self._rows["del_local"][index]
        return f'{{"start":{self._bound(start)},"end":{self._bound(end)},"timestamp":{timestamp},"local":{local}}}'

    def _bound(self, bound: Bound) -> str:
        values = ",".join(self._value(c, v) for c, v in zip(self._clustering, bound.values, strict=False))
        inclusive = bound.inclusive or not bound.values
        return f'{{"values":[{values}],"inclusive":{"true" if inclusive else "false"}}}'


def _table_part(table: Table) -> str:
    return (
        f',"keyspace":{json_string(table.keyspace)},"table":{json_string(table.name)},"table_id":"{table.id}","key":['
    )


def _value_json(column: Column) -> tuple[str, Render]:
    return json_string(column.name), _shown(column.type)


def _cell_json(cql_type: CqlType) -> Any:
    """How a cell's value prints: a function, a tuple of them by field (non-frozen UDT), or None for `null`."""
    if not cql_type.multi_cell:
        return _shown(cql_type)
    if isinstance(cql_type, ListType):
        return _shown(cql_type.element)
    if isinstance(cql_type, MapType):
        return _shown(cql_type.value)
    if isinstance(cql_type, UserType):
        return tuple(_shown(field) for field in cql_type.field_types)
    assert isinstance(cql_type, SetType)
    return None


def _shown(cql_type: CqlType) -> Render:
    """The `json` of a value; a value that its type cannot read prints as `null`, its bytes stand in `hex`."""
    render = to_json(cql_type)

    def shown(raw: bytes) -> str:
        try:
            return render(raw)
        except ValueError:
            return "null"

    return shown
