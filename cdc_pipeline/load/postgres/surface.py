"""The shape of a table of exactly Cassandra's columns that is kept equal to the view of the state, and the SQL that
looks up in the view what was touched, and writes what differs (`touched.py`, `publish.py`).
"""

from __future__ import annotations

from cdc_pipeline.load.postgres import ddl, names
from cdc_pipeline.load.postgres.plan import CLUSTERING, KeyColumn, TablePlan

_LARGEST_INDEX = 32
"""Columns that an index of PostgreSQL can have."""

TOUCHED = "\x01"
"""Stands in kept SQL for the table of what was touched, which is each session's own."""

# --- its shape -----------------------------------------------------------------------------------------------------


def columns(plan: TablePlan) -> dict[str, str]:
    """The table's columns, quoted, with their types: those of Cassandra."""
    return {names.quoted(column.column.name): column.type.sql for column in plan.columns}


def keys(plan: TablePlan) -> dict[KeyColumn, str]:
    """Key columns and their names there, quoted."""
    return {key: names.quoted(key.column.name) for key in (*plan.partition_key, *plan.clustering)}


def is_exact(plan: TablePlan) -> bool:
    """Whether two rows differ in the typed values of their keys, so that these identify them."""
    exact = not any(key.by_bytes for key in (*plan.partition_key, *plan.clustering))
    return exact and "dense" not in plan.table.flags and len(keys(plan)) <= _LARGEST_INDEX


def may_be_null(plan: TablePlan, key: KeyColumn) -> bool:
    """An empty value of a typed column is NULL, and so is the clustering of a partition with static values alone."""
    if key in plan.partition_key:
        return len(plan.partition_key) > 1 and key.type.empty_is_null
    return bool(plan.static) or key.type.empty_is_null


def create(plan: TablePlan) -> str:
    """The table alone; may be repeated."""
    listed_columns = ", ".join(f"{name} {sql}" for name, sql in columns(plan).items())
    return f"CREATE TABLE IF NOT EXISTS {plan.public} ({listed_columns})"


def statements(plan: TablePlan) -> list[str]:
    """The table, its index and the ledger of expiries; each may be repeated."""
    found = [create(plan), index(plan)]
    if is_exact(plan) and any(may_be_null(plan, key) for key in keys(plan)):
        found.append(f"ALTER TABLE {plan.public} REPLICA IDENTITY FULL")
    if not is_exact(plan):
        typed = ", ".join([key.sql_name for key in keys(plan)][:_LARGEST_INDEX])
        found.append(f"CREATE INDEX IF NOT EXISTS {named(plan.state, ':typed')} ON {plan.state} ({typed})")
    known = ", ".join(f"{name} {sql}" for name, sql in identified(plan).items())
    found.append(f"CREATE TABLE IF NOT EXISTS {plan.expiries} ({known}, due bigint NOT NULL)")
    due = ["due", *key_names(plan)]
    if len(due) <= _LARGEST_INDEX:
        found.append(ddl.unique_index(plan.expiries, due))
    else:  # the same expiry may stand there twice
        found.append(f"CREATE INDEX IF NOT EXISTS {named(plan.expiries, ':due')} ON {plan.expiries} (due)")
    return found


def index(plan: TablePlan) -> str:
    """Its primary key where no part can be NULL, else a unique index; none is unique where typed values are not."""
    parts = ", ".join(list(keys(plan).values())[:_LARGEST_INDEX])
    name = named(plan.public, ":key")
    if not is_exact(plan):
        return f"CREATE INDEX IF NOT EXISTS {name} ON {plan.public} ({parts})"
    if any(may_be_null(plan, key) for key in keys(plan)):
        return f"CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {plan.public} ({parts}) NULLS NOT DISTINCT"
    return (
        f"DO $$ BEGIN ALTER TABLE {plan.public} ADD CONSTRAINT {name} PRIMARY KEY ({parts}); "
        "EXCEPTION WHEN invalid_table_definition THEN NULL; END $$"
    )


def named(relation: str, end: str) -> str:
    bare = relation.split(".", 1)[1] if relation.startswith("cdc.") else relation.split('"."', 1)[1]
    return names.quoted(names.fitted(bare.strip('"').replace('""', '"'), 63 - len(end)) + end)


def identified(plan: TablePlan) -> dict[str, str]:
    """Typed keys, bytes beside them and the clustering's sort bytes, as the state has them."""
    found = {}
    for key in keys(plan):
        found[key.sql_name] = key.type.sql
        if key.by_bytes and key in plan.partition_key:
            found[key.raw_name] = "bytea"
    return found | ({CLUSTERING: "bytea"} if plan.has_clustering else {})


def key_names(plan: TablePlan) -> list[str]:
    return [*plan.partition_names, *([CLUSTERING] if plan.has_clustering else [])]


def listed(plan: TablePlan, source: str, *, static: bool = False) -> str:
    """The identity of a row, or of the partition's row without clustering."""
    clustering = {CLUSTERING, *(key.sql_name for key in plan.clustering)} if static else set()
    return ", ".join(
        f"NULL::{sql}" if name in clustering else f"{source}.{name}" for name, sql in identified(plan).items()
    )


# --- looking up ----------------------------------------------------------------------------------------------------


def refresh(plan: TablePlan) -> str:
    """The SQL that makes the table's rows of what was touched those of the view."""
    return _by_identity(plan) if is_exact(plan) else _by_value(plan)


def _by_identity(plan: TablePlan) -> str:
    """Each row is found by the index of the state, and by the index of the table; one that is the same is left."""
    shown = list(columns(plan))
    numbered = [f"f.c{at}" for at in range(len(shown))]
    identity = ddl.identity(plan)
    partition = " AND ".join(
        _equal(f"v.{identity[key.index_name]}", f"t.{key.index_name}", may_be_null(plan, key))
        for key in plan.partition_key
    )
    looked = f"SELECT true, {', '.join(f'v.{name}' for name in shown)} FROM {plan.view} v WHERE {partition}"
    found = f"{looked} AND v.{identity[CLUSTERING]} = t.{CLUSTERING}" if plan.has_clustering else looked
    if plan.static:
        found += f" UNION ALL {looked} AND t.{CLUSTERING} IS NULL AND v.{identity[CLUSTERING]} IS NULL"
    touched = f"SELECT DISTINCT {listed(plan, 'i')} FROM {TOUCHED} i"
    if plan.static:  # whether the row of the partition alone is there hangs on all others
        touched += f" UNION SELECT {listed(plan, 'i', static=True)} FROM {TOUCHED} i"
    aliases = ", ".join(["there", *(name[2:] for name in numbered)])
    return (
        f"WITH t AS MATERIALIZED ({touched}), "
        f"f AS MATERIALIZED (SELECT t.*, f.* FROM t LEFT JOIN LATERAL ({found} OFFSET 0) f({aliases}) ON true), "
        f"gone AS (DELETE FROM {plan.public} p USING f WHERE f.there IS NULL AND {_same(plan, 'p', 'f')}) "
        + _upsert(plan, f"SELECT {', '.join(numbered)} FROM f WHERE f.there")
    )


def _upsert(plan: TablePlan, query: str) -> str:
    shown, key = list(columns(plan)), list(keys(plan).values())
    values = [name for name in shown if name not in key]
    then = "NOTHING"
    if values:
        old, new = (", ".join(f"{side}.{name}" for name in values) for side in ("p", "excluded"))
        sets = ", ".join(f"{name} = excluded.{name}" for name in values)
        then = f"UPDATE SET {sets} WHERE ROW({old})::record *<> ROW({new})::record"
    return f"INSERT INTO {plan.public} AS p ({', '.join(shown)}) {query} ON CONFLICT ({', '.join(key)}) DO {then}"


def _by_value(plan: TablePlan) -> str:
    """Rows whose keys are of one typed value, though their bytes differ, are looked up together."""
    typed = ", ".join(f"i.{key.sql_name}" for key in keys(plan))
    alone = ""
    if plan.static:
        nulls = [f"NULL::{key.type.sql}" for key in plan.clustering]
        alone = (
            f" UNION SELECT {', '.join([*(f'i.{k.sql_name}' for k in plan.partition_key), *nulls])} FROM {TOUCHED} i"
        )
    shown = list(columns(plan))
    return (
        f"WITH t AS MATERIALIZED (SELECT DISTINCT {typed} FROM {TOUCHED} i{alone}), "
        f"gone AS (DELETE FROM {plan.public} p USING t WHERE {_same(plan, 'p', 't')}) "
        f"INSERT INTO {plan.public} ({', '.join(shown)}) SELECT f.* FROM t CROSS JOIN LATERAL "
        f"(SELECT {', '.join(f'v.{name}' for name in shown)} FROM {plan.view} v "
        f"WHERE {_same(plan, 'v', 't')} OFFSET 0) f"
    )


def _same(plan: TablePlan, shown: str, touched: str) -> str:
    """Whether a row of the table or the view has the typed key of something touched."""
    return " AND ".join(
        _equal(f"{shown}.{name}", f"{touched}.{key.sql_name}", may_be_null(plan, key))
        for key, name in keys(plan).items()
    )


def filling(plan: TablePlan) -> list[str]:
    """What makes the whole table equal to the view."""
    shown, key = list(columns(plan)), ", ".join(keys(plan).values())
    query = f"SELECT {', '.join(shown)} FROM {plan.view}"
    if not is_exact(plan):
        return [f"DELETE FROM {plan.public}", f"INSERT INTO {plan.public} ({', '.join(shown)}) {query}"]
    same = " AND ".join(_equal(f"p.{name}", f"g.{name}", may_be_null(plan, one)) for one, name in keys(plan).items())
    gone = f"(SELECT {key} FROM {plan.public} EXCEPT SELECT {key} FROM {plan.view}) g"
    return [f"DELETE FROM {plan.public} p USING {gone} WHERE {same}", _upsert(plan, query)]


def _equal(left: str, right: str, may_be_null: bool) -> str:
    return f"({left} = {right} OR ({left} IS NULL AND {right} IS NULL))" if may_be_null else f"{left} = {right}"
