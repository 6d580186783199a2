"""One row per change of a table, appended and never changed: a hypertable by writetime, beside the state.

A change is known by its key, its writetime, its kind, the columns that it touched and what it brought, so that a
replay, or the same change from another replica, adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from cdc_pipeline.load.postgres import ddl as postgres_ddl
from cdc_pipeline.load.postgres import merge, migrate, names
from cdc_pipeline.load.postgres.ddl import DELETED, LIVE_W
from cdc_pipeline.load.postgres.encode import CopyBatch, EncodedTable
from cdc_pipeline.load.postgres.plan import CLUSTERING, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import CellsType
from cdc_pipeline.load.timescaledb import ddl
from cdc_pipeline.load.timescaledb.options import HypertableOptions

Connection = psycopg.Connection[Any]

AT, WRITETIME, OPERATION, TOUCHED, DIGEST = '"r:at"', '"r:w"', '"r:op"', '"r:columns"', '"r:digest"'
_OWN = (
    f"{AT} timestamp with time zone NOT NULL, {WRITETIME} bigint NOT NULL, {OPERATION} text NOT NULL, "
    f"{TOUCHED} text[] NOT NULL, {DIGEST} uuid NOT NULL"
)
_SHOWN = {"changed_at": AT, "writetime": WRITETIME, "operation": OPERATION, "columns": TOUCHED}
_STAGED = "cdc_changes"


def table_name(plan: TablePlan) -> str:
    """The hypertable, quoted."""
    return names.state_table(plan.table.keyspace, plan.table.name, "history", plan.generation)


def view_name(plan: TablePlan) -> str:
    """What users read, quoted. No table of Cassandra has a `$` in its name."""
    schema = names.quoted(names.schema_name(plan.table.keyspace))
    return f"{schema}.{names.quoted(plan.table.name + '$history')}"


def statements(plan: TablePlan, options: HypertableOptions) -> list[str]:
    """The hypertable, its settings and its view; each may be repeated."""
    return [*_tables(plan, options), *_settings(plan, options), view(plan)]


def migrate_to(connection: Connection, plan: TablePlan, options: HypertableOptions) -> None:
    """Makes or extends the hypertable, and its view anew where its columns are others."""
    migrate.once(connection, table_name(plan), list(_tables(plan, options)), table_name(plan))
    migrate.once(connection, f"{table_name(plan)} settings", list(_settings(plan, options)))
    if migrate.is_newest(connection, plan.table):
        migrate.show(connection, view_name(plan), view(plan))


def _tables(plan: TablePlan, options: HypertableOptions) -> Iterator[str]:
    table, keys = table_name(plan), _keys(plan)
    clustering = f"{CLUSTERING} bytea, " if plan.has_clustering else ""
    columns = ", ".join(f"{name} {sql}" for name, sql in (*keys.items(), *_values(plan)))
    yield f"CREATE TABLE IF NOT EXISTS {table} ({clustering}{_OWN}, {columns})"
    yield ddl.hypertable(table, AT, options.chunk_interval)
    key = [*plan.partition_names, *([CLUSTERING] if plan.has_clustering else []), WRITETIME, OPERATION, TOUCHED]
    yield postgres_ddl.unique_index(table, [*key, DIGEST, AT])
    if added := ", ".join(f"ADD COLUMN IF NOT EXISTS {name} {sql}" for name, sql in _values(plan)):
        yield f"ALTER TABLE {table} {added}"


def _settings(plan: TablePlan, options: HypertableOptions) -> Iterator[str]:
    yield ddl.chunk_interval(table_name(plan), options.chunk_interval)
    if options.compress_after is not None:
        yield ddl.compression(table_name(plan), list(plan.partition_names), [AT])
        yield from ddl.compression_policy(table_name(plan), options.compress_after)


def view(plan: TablePlan) -> str:
    """The key, what became of it when, and the values that the change brought; NULL where it brought none."""
    keys = [f"h.{k.sql_name} AS {names.quoted(k.column.name)}" for k in (*plan.partition_key, *plan.clustering)]
    taken = {column.column.name for column in plan.columns}
    own = [f"h.{column} AS {names.quoted(_free(name, taken))}" for name, column in _SHOWN.items()]
    values = [f"{_shown(value)} AS {names.quoted(value.column.name)}" for value in (*plan.static, *plan.regular)]
    return (
        f"CREATE OR REPLACE VIEW {view_name(plan)} AS SELECT {', '.join([*keys, *own, *values])} "
        f"FROM {table_name(plan)} h"
    )


def _free(name: str, taken: set[str]) -> str:
    return _free(f"cdc_{name}", taken) if name in taken else name


def _shown(value: ValueColumn) -> str:
    if isinstance(value.type, CellsType):
        return value.type.assemble.format(cells=f"h.{value.part('v')}", floor="NULL", now="0")
    return f"h.{value.part('v')}"


def _keys(plan: TablePlan) -> dict[str, str]:
    """Key columns, quoted, with their SQL types; clustering is NULL in changes of whole partitions and ranges."""
    found: dict[str, str] = {}
    for key in plan.partition_key:
        found[key.sql_name] = key.type.sql
        if key.by_bytes:
            found[key.raw_name] = "bytea"
    return found | {key.sql_name: key.type.sql for key in plan.clustering}


def _values(plan: TablePlan) -> list[tuple[str, str]]:
    kept = []
    for value in (*plan.static, *plan.regular):
        kept += [(name, sql) for name, sql in postgres_ddl.value_parts(value) if name != value.part("w")]
    return kept


def append(connection: Connection, encoded: EncodedTable) -> None:
    """The changes of a batch, each a row of its own."""
    plan = encoded.plan
    for rows, values, table in (
        (encoded.rows, plan.regular, plan.state),
        (encoded.static, plan.static, plan.static_state),
    ):
        if rows is not None:
            _stage(connection, table, rows)
            connection.execute(_insert_rows(plan, rows.columns, values, static=values is plan.static).encode())
            connection.execute(f"DROP TABLE {_STAGED}".encode())
    if encoded.ranges is not None:
        _stage(connection, plan.ranges, encoded.ranges)
        connection.execute(_insert_ranges(plan, encoded.ranges.columns).encode())
        connection.execute(f"DROP TABLE {_STAGED}".encode())


def _stage(connection: Connection, table: str, batch: CopyBatch) -> None:
    connection.execute(merge.staging(table, _STAGED).encode())
    with connection.cursor() as cursor, cursor.copy(merge.copy_in(_STAGED, batch.columns).encode()) as copy:
        copy.write(batch.data)


def _insert_rows(plan: TablePlan, sent: Sequence[str], values: Sequence[ValueColumn], *, static: bool) -> str:
    """Staged changes of rows, or of static rows, into the history."""
    touched = [value for value in values if value.part("v") in sent]
    times = [*([] if static else [f"i.{LIVE_W}"]), f"i.{DELETED}", *(_time(value) for value in touched)]
    listed = ", ".join(
        f"CASE WHEN {_is_touched(value)} THEN {names.literal(value.column.name)} END" for value in touched
    )
    live = "false" if static else f"i.{LIVE_W} IS NOT NULL"
    written = " OR ".join([live, *map(_is_touched, touched)])
    kind = f"CASE WHEN NOT ({written}) THEN 'delete' WHEN {live} THEN 'insert' ELSE 'update' END"
    sent_keys = [name for name in (*_keys(plan), CLUSTERING) if name in sent]
    parts = [name for name, _ in _values(plan) if name in sent]
    brought = [name for name in sent if name not in sent_keys]
    columns = [*sent_keys, *parts, WRITETIME, AT, OPERATION, TOUCHED, DIGEST]
    chosen = [f"i.{name}" for name in (*sent_keys, *parts)]
    chosen += ["t.w", "cdc.time_of_micros(t.w)", names.literal("update static") if static else kind]
    chosen.append(f"array_remove(ARRAY[{listed}]::text[], NULL)")
    chosen.append(_digest(brought))
    return (
        f"INSERT INTO {table_name(plan)} ({', '.join(columns)}) SELECT {', '.join(chosen)} FROM {_STAGED} i "
        f"CROSS JOIN LATERAL (SELECT greatest({', '.join(times)}) AS w) t WHERE t.w IS NOT NULL ON CONFLICT DO NOTHING"
    )


def _digest(columns: Sequence[str]) -> str:
    """Of what a change brought, whatever others were sent with it."""
    brought = (f"{names.literal(name)} || quote_literal(i.{name}::text)" for name in sorted(columns))
    return f"md5(concat_ws(' ', {', '.join(brought)}))::uuid"


def _time(value: ValueColumn) -> str:
    if value.is_cells:
        return f"(SELECT max(e.w) FROM unnest(i.{value.part('v')}) e), i.{value.part('d')}"
    return f"i.{value.part('w')}"


def _is_touched(value: ValueColumn) -> str:
    if value.is_cells:
        return f"(i.{value.part('v')} IS NOT NULL OR i.{value.part('d')} IS NOT NULL)"
    return f"i.{value.part('w')} IS NOT NULL"


def _insert_ranges(plan: TablePlan, sent: Sequence[str]) -> str:
    keys = [name for name in _keys(plan) if name in sent]
    columns = [*keys, WRITETIME, AT, OPERATION, TOUCHED, DIGEST]
    kind = "CASE WHEN i.lo = '' AND i.hi = '\\xff' THEN 'delete partition' ELSE 'delete range' END"
    chosen = [*(f"i.{name}" for name in keys), "i.ts", "cdc.time_of_micros(i.ts)", kind, "ARRAY[]::text[]"]
    chosen.append("md5(ROW(i.lo, i.hi)::text)::uuid")
    return (
        f"INSERT INTO {table_name(plan)} ({', '.join(columns)}) SELECT {', '.join(chosen)} FROM {_STAGED} i "
        "ON CONFLICT DO NOTHING"
    )
