"""Values that are shown with the names of a user type's fields, when `ALTER TYPE` renames a field or adds one.

Cassandra keeps bytes and names apart; a `jsonb` or text holds the names. So what is there is rendered again, from the
bytes beside it, for each distinct value once. What has no bytes beside it keeps the names that it was loaded with:
masked columns, keys, and the elements of non-frozen sets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline.load.postgres.plan import TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import CellsType, ValueType
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType, part_json

Connection = psycopg.Connection[Any]
_AT_ONCE = 1000
_NULL = b"\xff\xff\xff\xff"


def shown_as(plan: TablePlan, newest: TablePlan) -> TablePlan:
    """The plan of an older state of a table, whose values are rendered as the newest state shows them."""
    types = {value.part("v"): value.type for value in (*newest.static, *newest.regular)}

    def renewed(value: ValueColumn) -> ValueColumn:
        kind = types.get(value.part("v"), value.type)
        return dataclasses.replace(value, type=kind) if kind.sql == value.type.sql else value

    return dataclasses.replace(
        plan,
        static=tuple(renewed(value) for value in plan.static),
        regular=tuple(renewed(value) for value in plan.regular),
    )


def rerender(connection: Connection, old: TablePlan, new: TablePlan) -> None:
    """Renders again what two states of one table show differently."""
    for table, before, after in (
        (new.state, old.regular, new.regular),
        (new.static_state, old.static, new.static),
    ):
        known = {value.part("v"): value for value in before}
        for value in after:
            was = known.get(value.part("v"))
            if was is None or was.masked or value.masked or was.column.type == value.column.type:
                continue
            if isinstance(value.type, ValueType) and value.bytes_beside:
                _values(connection, table, value, value.type)
            elif isinstance(value.type, CellsType) and not isinstance(value.column.type, SetType):
                _cells(connection, table, was, value)


def _values(connection: Connection, table: str, value: ValueColumn, kind: ValueType) -> None:
    shown, raw = value.part("v"), value.part("b")

    def encoded(row: tuple[bytes, ...]) -> bytes | None:
        return kind.encode(row[0]) if row[0] or not kind.empty_is_null else None

    distinct = f"SELECT DISTINCT {raw} FROM {table} WHERE {raw} IS NOT NULL AND {shown} IS NOT NULL"
    _collect(connection, distinct, ("raw bytea", f"shown {kind.sql}"), encoded)
    connection.execute(
        f"UPDATE {table} s SET {shown} = c.shown FROM cdc_shown c "
        f"WHERE s.{raw} = c.raw AND s.{shown} IS NOT NULL AND s.{shown} IS DISTINCT FROM c.shown".encode()
    )
    connection.execute("DROP TABLE cdc_shown")


def _cells(connection: Connection, table: str, was: ValueColumn, value: ValueColumn) -> None:
    """Values of lists, maps and user types; a map's fragment begins with its key, which stays."""
    name = value.part("v")
    parts = list(zip(_parts(was.column.type), _parts(value.column.type), strict=False))

    def encoded(row: tuple[Any, ...]) -> bytes | None:
        tie, frag, path = row
        at = int.from_bytes(path, "big") if isinstance(value.column.type, UserType) else 0
        if at >= len(parts):
            return None
        before, after = parts[at][0](tie), parts[at][1](tie)
        return None if not frag.endswith(before) else (frag.removesuffix(before) + after).encode()

    is_fields = isinstance(value.column.type, UserType)
    path = "e.path" if is_fields else "''::bytea"
    distinct = (
        f"SELECT DISTINCT e.tie, e.frag, {path} FROM {table} s, unnest(s.{name}) e "
        "WHERE e.frag IS NOT NULL AND e.tie IS NOT NULL"
    )
    columns = ("tie bytea", "frag text", "path bytea", "shown text")
    _collect(connection, distinct, columns, encoded)
    same = "c.tie = e.tie AND c.frag = e.frag" + (" AND c.path = e.path" if is_fields else "")
    connection.execute(
        f"UPDATE {table} s SET {name} = (SELECT array_agg(ROW(e.path, e.w, e.x, e.tie, coalesce(c.shown, e.frag))"
        f"::cdc.cell ORDER BY e.path) FROM unnest(s.{name}) e LEFT JOIN cdc_shown c ON {same}) "
        f"WHERE EXISTS (SELECT 1 FROM unnest(s.{name}) e JOIN cdc_shown c ON {same} WHERE c.shown <> e.frag)".encode()
    )
    connection.execute("DROP TABLE cdc_shown")


def _parts(kind: CqlType) -> list[Callable[[bytes], str]]:
    """How the values inside a multi-cell column are printed: one, or one for each field."""
    if isinstance(kind, UserType):
        return [part_json(field) for field in kind.field_types]
    assert isinstance(kind, ListType | MapType)
    return [part_json(kind.value if isinstance(kind, MapType) else kind.element)]


def _collect(
    connection: Connection,
    query: str,
    columns: tuple[str, ...],
    encode: Callable[[tuple[Any, ...]], bytes | None],
) -> None:
    """Fills a temporary table with the rows of a query and what each is shown as now; bounded in memory."""
    connection.execute(f"CREATE TEMPORARY TABLE cdc_shown ({', '.join(columns)}) ON COMMIT DROP".encode())
    with connection.cursor(name="cdc_distinct", binary=True) as found, connection.cursor() as cursor:
        found.execute(query.encode())
        while rows := found.fetchmany(_AT_ONCE):
            with cursor.copy("COPY cdc_shown FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(HEADER)
                for record in _records(rows, encode):
                    copy.write(record)
                copy.write(TRAILER)
    connection.execute("ANALYZE cdc_shown")


def _records(rows: list[tuple[Any, ...]], encode: Callable[[tuple[Any, ...]], bytes | None]) -> Iterator[bytes]:
    for row in rows:
        try:
            shown = encode(row)
        except (Unfit, ValueError):  # it stays as it is
            continue
        if shown is not None:
            fields = [field.encode() if isinstance(field, str) else bytes(field) for field in row]
            parts = [len(field).to_bytes(4, "big") + field for field in (*fields, shown)]
            yield (len(parts)).to_bytes(2, "big") + b"".join(parts)
