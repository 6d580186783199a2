"""Values that are shown with the names of a user type's fields, when `ALTER TYPE` renames a field or adds one.

Cassandra keeps bytes and names apart; a text holds the names. A cell has the version of its rendering, `r`, behind its
bytes: so the same cell again with a later rendering is the greater one, and nothing else about it changes. What has no
bytes beside it keeps the names that it was loaded with: masked columns, keys, and the elements of non-frozen sets.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterable

import pyarrow as pa

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.clickhouse import ddl, whole
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.ddl import APPLIED, DELETED, TOMBSTONE
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.plan import CLUSTERING, TablePlan, ValueColumn
from cdc_pipeline.load.clickhouse.types import CellsType, ValueType, holds_user_type
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType, part_json, to_json

_AT_ONCE = 50_000

Render = Callable[[bytes, str, bytes], str | None]
"""(serialized bytes, text as it is, path) -> the text as it is shown now; None: it stays."""


def shown_as(plan: TablePlan, newest: TablePlan) -> TablePlan:
    """The plan of an older state of a table, whose values are rendered as the newest state shows them."""
    types = {value.part("v"): value.type for value in (*newest.static, *newest.regular)}

    def renewed(value: ValueColumn) -> ValueColumn:
        kind = types.get(value.part("v"), value.type)
        same = kind is not None and value.type is not None and kind.sql == value.type.sql
        return dataclasses.replace(value, type=kind) if same else value

    return dataclasses.replace(
        plan,
        static=tuple(renewed(value) for value in plan.static),
        regular=tuple(renewed(value) for value in plan.regular),
        rendering=newest.table.version,
    )


def rerender(connection: Connection, old: TablePlan, new: TablePlan, *, merged: bool) -> None:
    """Renders again what two states of one table show differently. May be repeated."""
    for table, before, after in (
        (new.state, old.regular, new.regular),
        (new.static_state, old.static, new.static),
    ):
        known = {value.part("v"): value for value in before}
        for value in after:
            was = known.get(value.part("v"))
            if was is None or was.masked or value.masked or was.column.type == value.column.type:
                continue
            if isinstance(value.column.type, SetType) and value.column.type.multi_cell:
                continue
            if holds_user_type(value.column.type):
                _column(connection, new, table, was, value, merged)


def _column(
    connection: Connection, plan: TablePlan, table: str, was: ValueColumn, value: ValueColumn, merged: bool
) -> None:
    """The cells of one column, by a table that says how each distinct one is shown now.

    Cells that something hides are left: what hides them may be purged while they are written again.
    """
    static = table == plan.static_state
    keys = [name for key in plan.partition_key for name in {key.place: 0, key.index_name: 0}]
    keys += [] if static else [*(key.place for key in plan.clustering), *([CLUSTERING] if plan.has_clustering else [])]
    parts = [name for name, _ in ddl.value_parts(value)]
    columns = [*keys, APPLIED, DELETED, *parts]
    key = plan.partition_names if static else plan.row_key
    rows = whole.merged_rows(plan, table, key, columns, merged)
    listed, cells = ", ".join(map(quoted, [*keys, APPLIED])), quoted(value.part("v"))
    floored = whole.floored(plan, f"({rows}) AS e", columns, static=static)
    found_in = f"SELECT {listed}, {cells} AS cell, '' AS path, f AS lowest FROM ({floored})"
    if isinstance(value.type, CellsType):
        lowest = f"greatest(f, {quoted(value.part('d'))})"
        each = f"arrayJoin(arrayZip(mapKeys({cells}), mapValues({cells}))) AS each, {lowest} AS lowest FROM ({floored})"
        parts_of = "tupleElement(each, 2) AS cell, tupleElement(each, 1) AS path, lowest"
        found_in = f"SELECT {listed}, {parts_of} FROM (SELECT *, {each})"
    by_path = "path" if isinstance(value.column.type, UserType) and isinstance(value.type, CellsType) else "''"
    b, v, w, x = (f"tupleElement(cell, '{name}')" for name in "bvwx")
    found = f"FROM ({found_in}) WHERE {w} > lowest AND {x} < {TOMBSTONE} AND {v} != ''"
    made = f"{quoted(plan.state_database)}.{quoted(f'shown_{uuid.uuid4().hex}')}"
    connection.run(f"CREATE TABLE {made} (b String, old String, at String, shown String) ENGINE = Memory")
    try:
        distinct = connection.rows(f"SELECT DISTINCT hex({b}), hex({v}), hex({by_path}) {found}")
        _fill(connection, made, distinct, _renderer(was, value))
        renewed = f"CAST(({w}, {x}, {b}, {plan.table.version}, n.shown), {_cell_of(value)})"
        sent = renewed if isinstance(value.type, ValueType) else f"map(path, {renewed})"
        connection.insert_from(
            f"INSERT INTO {table} ({listed}, {cells}) SELECT {listed}, {sent} FROM "
            f"(SELECT *, {b} AS kb, {v} AS kv, {by_path} AS kp {found}) AS o "
            f"JOIN {made} AS n ON o.kb = n.b AND o.kv = n.old AND o.kp = n.at"
        )
    finally:
        connection.run(f"DROP TABLE IF EXISTS {made}")


def _cell_of(value: ValueColumn) -> str:
    assert value.type is not None
    parts = ", ".join(f"{name} {sql}" for name, sql in (("w", "UInt64"), ("x", "UInt64"), *value.type.kept))
    return f"'Tuple({parts})'"


def _fill(connection: Connection, table: str, rows: Iterable[Iterable[str]], render: Render) -> None:
    """Says of each distinct (bytes, text, path) that is shown otherwise now, how."""
    changed: list[tuple[bytes, bytes, bytes, bytes]] = []
    for row in rows:
        raw, text, path = map(bytes.fromhex, row)
        try:
            shown = render(raw, text.decode(), path)
        except (Unfit, ValueError):  # it stays as it is
            continue
        if shown is not None and shown != text.decode():
            changed.append((raw, text, path, shown.encode()))
    for at in range(0, len(changed), _AT_ONCE):
        columns = zip(("b", "old", "at", "shown"), zip(*changed[at : at + _AT_ONCE], strict=True), strict=True)
        connection.insert(table, pa.table({name: pa.array(values, pa.binary()) for name, values in columns}))


def _renderer(was: ValueColumn, value: ValueColumn) -> Render:
    """How a cell of a column is shown now. A map's text begins with its key, which stays."""
    if isinstance(value.type, ValueType):
        render = to_json(value.column.type, "destination")
        return lambda raw, _, __: render(raw)
    parts = list(zip(_parts(was.column.type), _parts(value.column.type), strict=False))
    is_fields = isinstance(value.column.type, UserType)

    def renewed(raw: bytes, text: str, path: bytes) -> str | None:
        at = int.from_bytes(path, "big") if is_fields else 0
        if at >= len(parts):
            return None
        before, after = parts[at][0](raw), parts[at][1](raw)
        return text.removesuffix(before) + after if text.endswith(before) else None

    return renewed


def _parts(kind: CqlType) -> list[Callable[[bytes], str]]:
    """How the values inside a multi-cell column are printed: one, or one for each field."""
    if isinstance(kind, UserType):
        return [part_json(field) for field in kind.field_types]
    assert isinstance(kind, ListType | MapType)
    return [part_json(kind.value if isinstance(kind, MapType) else kind.element)]
