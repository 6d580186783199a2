"""The DDL of a table: state tables, ledger, view. Idempotent; columns that came later are added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources

from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.plan import CLUSTERING as CLUSTERING
from cdc_pipeline.load.postgres.plan import WRITTEN, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import CellsType

LIVE_W, LIVE_X, DELETED = '"r:lw"', '"r:lx"', '"r:dw"'
"""Row liveness (writetime µs, expiry s) and the greatest deletion (µs) of a row."""

SEEN = '"r:seen"'
"""When a purge saw that something in the row is dead; a merge that touches the row clears it (`purge.py`)."""

TOMBSTONE = 1 << 62
"""`x` of a tombstone; NULL is live, a smaller number is an expiry with its TTL (`transform/compaction.py`)."""

PRELUDE = resources.files(__package__).joinpath("functions.sql").read_text(encoding="utf-8")
"""What all tables share."""


def statements(plan: TablePlan) -> Iterator[str]:
    """The tables and indexes of a table, in order; each may be repeated. The view comes after them."""
    for table, columns in tables(plan):
        yield _create(table, columns)
    yield unique_index(plan.state, plan.row_key)
    yield from _added(plan.state, plan.regular)
    yield f"ALTER TABLE {plan.state} ADD COLUMN IF NOT EXISTS {SEEN} timestamptz"
    if plan.static:
        yield unique_index(plan.static_state, plan.partition_names)
        yield from _added(plan.static_state, plan.static)
        yield f"ALTER TABLE {plan.static_state} ADD COLUMN IF NOT EXISTS {SEEN} timestamptz"
    if plan.has_clustering:
        yield unique_index(plan.ranges, ledger_key(plan))
        yield f"ALTER TABLE {plan.ranges} ADD COLUMN IF NOT EXISTS applied timestamptz DEFAULT now()"
    yield f"CREATE SCHEMA IF NOT EXISTS {names.quoted(names.schema_name(plan.table.keyspace))}"


def tables(plan: TablePlan) -> Iterator[tuple[str, list[str]]]:
    """(table, column definitions) of the rows, the static rows and the ledger, quoted."""
    keys = [_key_columns(key) for key in plan.partition_key]
    rows = [*keys, *_clustering_columns(plan), *_derived_columns(plan), *_row_columns()]
    yield plan.state, [*rows, *_value_columns(plan.regular)]
    if plan.static:
        yield plan.static_state, [*keys, f"{DELETED} bigint", *_value_columns(plan.static)]
    if plan.has_clustering:
        yield plan.ranges, [*keys, "lo bytea NOT NULL", "hi bytea NOT NULL", "ts bigint NOT NULL"]


LARGEST_TABLE = 1600
"""Columns that a PostgreSQL table can have."""


def width(plan: TablePlan) -> int:
    """Columns of the widest state table."""
    keys = sum(2 if key.by_bytes else 1 for key in plan.partition_key)
    rows = keys + len(plan.clustering) + 5 + bool(plan.formed) + sum(len(value_parts(one)) for one in plan.regular)
    return max(rows, keys + 2 + sum(len(value_parts(value)) for value in plan.static))


def relations(plan: TablePlan) -> list[str]:
    """The tables that have to be there, quoted."""
    return [
        plan.state,
        *([plan.static_state] if plan.static else []),
        *([plan.ranges] if plan.has_clustering else []),
    ]


def view(plan: TablePlan) -> str:
    """The view: exactly Cassandra's columns and rows at the clock `cdc.now_x()`."""
    floor = _floor("s")
    live = f"(s.{LIVE_W} > {floor} AND (s.{LIVE_X} IS NULL OR s.{LIVE_X} > c.now))"
    visible = " OR ".join([live, *(f"m.{_public(value)} IS NOT NULL" for value in plan.regular if value.is_cells)]
                          + [_alive(value, "s", floor) for value in plan.regular if not value.is_cells])  # fmt: skip
    keys = [f"s.{key.sql_name} AS {names.quoted(key.column.name)}" for key in plan.partition_key + plan.clustering]
    columns = [*keys, *_shown(plan.shown(plan.static), "t", "tm", _floor("t"))]
    columns += [*_shown(plan.shown(plan.regular), "s", "m", floor), *_identity(plan, "s")]
    parts = [f"FROM {plan.state} s", _clock(plan), *_assembled(plan.shown(plan.regular), "s", "m", floor)]
    if not plan.static:
        return f"CREATE OR REPLACE VIEW {plan.view} AS SELECT {', '.join(columns)} {' '.join(parts)} WHERE {visible}"
    same = plan.same_partition("t", "s")
    parts.append(f"LEFT JOIN {plan.static_state} t ON {same}")
    parts += _assembled(plan.shown(plan.static), "t", "tm", _floor("t"))
    rows = f"SELECT {', '.join(columns)} {' '.join(parts)} WHERE {visible}"
    return f"CREATE OR REPLACE VIEW {plan.view} AS {rows} UNION ALL {_static_only(plan, visible, same, floor)}"


def _static_only(plan: TablePlan, visible: str, same: str, floor: str) -> str:
    """Partitions that have static values and no row: one row with null clustering, as Cassandra shows them."""
    static_floor = _floor("t")
    columns = [f"t.{key.sql_name} AS {names.quoted(key.column.name)}" for key in plan.partition_key]
    columns += [f"NULL::{key.type.sql} AS {names.quoted(key.column.name)}" for key in plan.clustering]
    columns += _shown(plan.shown(plan.static), "t", "tm", static_floor)
    columns += [f"NULL::{value.type.sql} AS {names.quoted(value.column.name)}" for value in plan.shown(plan.regular)]
    columns += _identity(plan, "t")
    some = " OR ".join(
        f"tm.{_public(value)} IS NOT NULL" if value.is_cells else _alive(value, "t", static_floor)
        for value in plan.static
    )
    rows = " ".join([f"FROM {plan.state} s", *_assembled(plan.regular, "s", "m", floor)])
    parts = [f"FROM {plan.static_state} t", _clock(plan)]
    parts += _assembled(plan.shown(plan.static), "t", "tm", static_floor)
    return (
        f"SELECT {', '.join(columns)} {' '.join(parts)} WHERE ({some}) "
        f"AND NOT EXISTS (SELECT 1 {rows} WHERE {same} AND ({visible}))"
    )


def identity(plan: TablePlan) -> dict[str, str]:
    """What tells rows apart in a view that a table is kept equal to: the index' columns -> names there, quoted."""
    taken = {column.column.name for column in plan.columns}
    found = {}
    for name in (*plan.partition_names, *([CLUSTERING] if plan.has_clustering else [])):
        shown = name.strip('"')
        while shown in taken:
            shown += "~"
        found[name] = names.quoted(shown)
    return found


def _identity(plan: TablePlan, source: str) -> list[str]:
    if not plan.is_table:
        return []
    return [
        f"{'NULL::bytea' if source == 't' and name == CLUSTERING else f'{source}.{name}'} AS {shown}"
        for name, shown in identity(plan).items()
    ]


def _clock(plan: TablePlan) -> str:
    """One row for the whole view: the clock that hides expired cells, and the time at which the table was truncated."""
    gone = f"SELECT max(z.ts) FROM cdc.cdc_truncations z WHERE z.table_id = '{plan.table.id}'"
    return f"CROSS JOIN (SELECT cdc.now_x() AS now, ({gone}) AS gone OFFSET 0) c"


def _floor(source: str) -> str:
    """What is written at or before it is gone: the row's deletion, or the table's truncation."""
    return f"coalesce(greatest({source}.{DELETED}, c.gone), {-(2**63)})"


def _shown(values: Sequence[ValueColumn], source: str, assembled: str, floor: str) -> list[str]:
    shown = []
    for value in values:
        name = names.quoted(value.column.name)
        if value.is_cells:
            shown.append(f"{assembled}.{_public(value)} AS {name}")
        else:
            shown.append(f"CASE WHEN {_alive(value, source, floor)} THEN {source}.{value.part('v')} END AS {name}")
    return shown


def _alive(value: ValueColumn, source: str, floor: str) -> str:
    """Whether a simple cell is there: written, not deleted, not a tombstone, not expired."""
    x = f"{source}.{value.part('x')}"
    return f"({source}.{value.part('w')} > {floor} AND ({x} IS NULL OR ({x} > c.now AND {x} < {TOMBSTONE})))"


def _assembled(values: Sequence[ValueColumn], source: str, alias: str, floor: str) -> list[str]:
    """A lateral join that puts the multi-cell columns together."""
    cells = [value for value in values if isinstance(value.type, CellsType)]
    if not cells:
        return []
    expressions = []
    for value in cells:
        assert isinstance(value.type, CellsType)
        deleted = f"{source}.{value.part('d')}"
        places = {"floor": f"greatest({floor}, {deleted})", "row": floor, "deleted": deleted, "now": "c.now"}
        expression = value.type.assemble.format(cells=f"{source}.{value.part('v')}", **places)
        expressions.append(f"{expression} AS {_public(value)}")
    return [f"CROSS JOIN LATERAL (SELECT {', '.join(expressions)} OFFSET 0) {alias}"]


def _public(value: ValueColumn) -> str:
    return names.quoted(value.column.name)


def _create(table: str, columns: Sequence[str]) -> str:
    return f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}) WITH (fillfactor = 80)"


def unique_index(table: str, columns: Sequence[str]) -> str:
    """The one index of a state table. Nulls are not distinct: a key part may be an empty value of a typed column."""
    name = key_index(table).split(".", 1)[1]
    return f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {table} ({', '.join(columns)}) NULLS NOT DISTINCT"


_LO_PREFIX = "substr({lo}, 1, 200)"


def ledger_key(plan: TablePlan) -> list[str]:
    """What tells the ranges of a ledger apart; bounds may be longer than an index takes."""
    return [*plan.partition_names, f"({_LO_PREFIX.format(lo='lo')})", "(sha256(lo))", "(sha256(hi))"]


def inside(ledger: str, key: str) -> str:
    """The condition that a clustering's sort bytes lie in a range; its first part is the index's."""
    lo = f"{ledger}.lo"
    return f"{_LO_PREFIX.format(lo=lo)} <= {key} AND {lo} <= {key} AND {key} < {ledger}.hi"


def key_index(table: str) -> str:
    """The index of a state table, qualified and quoted."""
    schema, name = table.split(".", 1)
    plain = name.strip('"').replace('""', '"')
    return f"{schema}.{names.quoted(f'{plain[:58]}:key')}"


def _key_columns(key: KeyColumn) -> str:
    typed = f"{key.sql_name} {key.type.sql}"
    return f"{typed}, {key.raw_name} bytea" if key.by_bytes else typed


def _clustering_columns(plan: TablePlan) -> list[str]:
    if not plan.has_clustering:
        return []
    written = [f"{WRITTEN} bytea"] if plan.formed else []
    return [*(f"{key.sql_name} {key.type.sql}" for key in plan.clustering), f"{CLUSTERING} bytea NOT NULL", *written]


def _derived_columns(plan: TablePlan) -> list[str]:
    return [f"{name} {sql} NOT NULL" for name, (sql, _) in plan.derived.items()]


def _row_columns() -> list[str]:
    return [f"{LIVE_W} bigint", f"{LIVE_X} bigint", f"{DELETED} bigint"]


def value_parts(value: ValueColumn) -> list[tuple[str, str]]:
    """(quoted column, SQL type) of everything the state table keeps for a column."""
    if value.is_cells:
        return [(value.part("v"), "cdc.cell[]"), (value.part("d"), "bigint")]
    parts = [(value.part("v"), value.type.sql), (value.part("w"), "bigint"), (value.part("x"), "bigint")]
    return [*parts, (value.part("b"), "bytea")] if value.bytes_beside else parts


def _value_columns(values: Sequence[ValueColumn]) -> list[str]:
    return [f"{name} {sql}" for value in values for name, sql in value_parts(value)]


def _added(table: str, values: Sequence[ValueColumn]) -> Iterator[str]:
    columns = _value_columns(values)
    if columns:
        yield f"ALTER TABLE {table} " + ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in columns)
