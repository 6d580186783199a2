"""Runs the DDL that is missing, and no more: an `ALTER TABLE` or a new view would wait for every reader, and a dropped
view would lose its grants.

State tables only ever gain columns, so that lanes whose logs stand before and behind a change of the schema fill the
same tables at once (`plan.py` names the columns so). Views follow the newest table of a name and its greatest version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres import ddl
from cdc_pipeline.load.postgres.names import quoted
from cdc_pipeline.load.postgres.plan import TablePlan, ValueColumn
from cdc_pipeline.schema import Table

_DDL_LOCK = 7_230_121_020_611
_PRELUDE = "functions.sql"
_FINGERPRINTS = """
CREATE SCHEMA IF NOT EXISTS cdc;
CREATE TABLE IF NOT EXISTS cdc.cdc_ddl (name text, fingerprint text, PRIMARY KEY (name, fingerprint))
"""
_OTHER_TYPE = """
SELECT h.attname, format_type(h.atttypid, h.atttypmod), format_type(w.atttypid, w.atttypmod)
FROM pg_attribute h JOIN pg_attribute w ON w.attname = h.attname AND w.attnum > 0 AND h.attnum > 0
WHERE h.attrelid = to_regclass(%s) AND w.attrelid = 'cdc_wanted'::regclass
  AND (h.atttypid, h.atttypmod) IS DISTINCT FROM (w.atttypid, w.atttypmod)
ORDER BY h.attnum LIMIT 1
"""
_REGISTER = """
INSERT INTO cdc.cdc_tables (keyspace_name, table_name, table_id, generation, created, version)
SELECT %(keyspace)s, %(table)s, %(id)s, 1 + coalesce(max(generation), 0), %(created)s, %(version)s
FROM cdc.cdc_tables WHERE (keyspace_name, table_name) = (%(keyspace)s, %(table)s)
ON CONFLICT DO NOTHING
"""
_GENERATION = "SELECT generation FROM cdc.cdc_tables WHERE (keyspace_name, table_name, table_id) = (%s, %s, %s)"
_NEWEST = """
SELECT table_id, version, dropped FROM cdc.cdc_tables WHERE (keyspace_name, table_name) = (%s, %s)
ORDER BY created DESC, generation DESC LIMIT 1
"""
_VERSION = """
UPDATE cdc.cdc_tables SET version = %s WHERE (keyspace_name, table_name, table_id) = (%s, %s, %s) AND version < %s
"""

Connection = psycopg.Connection[Any]
log = structlog.get_logger()


def begin(connection: Connection) -> None:
    """Brings what all tables share up to date, inside the caller's transaction.

    An advisory lock lets two start at once. What was run before, as its fingerprint says, is not run again, unless a
    table or view of it was dropped by hand.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute("SET LOCAL lock_timeout = '10s'")  # readers wait behind an ALTER TABLE that waits
    connection.execute(_FINGERPRINTS)
    if not _is_done(connection, _PRELUDE, ddl.PRELUDE, "cdc.cdc_offsets"):
        connection.execute(ddl.PRELUDE)
        _store(connection, _PRELUDE, ddl.PRELUDE, alone=True)


def generation(connection: Connection, table: Table) -> int:
    """Which of the tables that had its name this one is, counted from 1 as they came here."""
    created = table.id.time if table.id.version == 1 else 0
    names = {"keyspace": table.keyspace, "table": table.name}
    connection.execute(_REGISTER, {**names, "id": table.id, "created": created, "version": table.version})
    row = connection.execute(_GENERATION, (table.keyspace, table.name, table.id)).fetchone()
    assert row is not None
    return int(row[0])


def migrate(connection: Connection, plan: TablePlan, statements: Sequence[str]) -> None:
    """Makes or extends the state tables of a plan by these statements."""
    text = ";\n".join(statements)
    if not _is_done(connection, plan.state, text, *ddl.relations(plan)):
        _check_types(connection, plan)
        for statement in statements:
            connection.execute(statement.encode())
        _store(connection, plan.state, text)


def show(connection: Connection, name: str, view: str) -> bool:
    """Makes or replaces a view, unless it is there; whether it did so.

    One that something depends on is kept, with what it shows, and with new columns at its end where that will do.
    """
    if is_shown(connection, name, view):
        return False
    if _replace_view(connection, name, view):
        _store(connection, name, view, alone=True)
    return True


def is_shown(connection: Connection, name: str, view: str) -> bool:
    """Whether a view is there as it was made last."""
    return _is_done(connection, name, view, name)


def once(connection: Connection, name: str, statements: Sequence[str], *relations: str) -> None:
    """Runs statements that may be repeated, unless they were the last that ran under that name."""
    text = ";\n".join(statements)
    if not _is_done(connection, name, text, *relations):
        for statement in statements:
            connection.execute(statement.encode())
        _store(connection, name, text, alone=True)


_HELD = """
SELECT quote_ident(h.attname) FROM pg_attribute h JOIN pg_attribute w ON w.attname = h.attname AND w.attnum > 0
WHERE h.attrelid = to_regclass(%s) AND w.attrelid = 'cdc_wanted'::regclass AND h.attnum > 0 AND NOT h.attisdropped
  AND (h.atttypid, h.atttypmod) IS NOT DISTINCT FROM (w.atttypid, w.atttypmod)
"""


def kept(connection: Connection, plan: TablePlan) -> tuple[ValueColumn, ...]:
    """The dropped columns of a plan that its state holds, of the types that they would have."""
    found: list[ValueColumn] = []
    for values, state in ((plan.regular, plan.state), (plan.static, plan.static_state)):
        wanted = plan.shown(values)[len(values) :]
        if not wanted:
            continue
        columns = ", ".join(f"{name} {kind}" for one in wanted for name, kind in ddl.value_parts(one))
        connection.execute(f"CREATE TEMPORARY TABLE cdc_wanted ({columns})".encode())
        held = {name.strip('"') for (name,) in connection.execute(_HELD, (state,)).fetchall()}
        connection.execute("DROP TABLE cdc_wanted")
        found += [one for one in wanted if {name.strip('"') for name, _ in ddl.value_parts(one)} <= held]
    return tuple(found)


def is_newest(connection: Connection, table: Table) -> bool:
    """Whether the view is this table's to make, and no lane ahead made a newer one, or took it away."""
    newest = connection.execute(_NEWEST, (table.keyspace, table.name)).fetchone()
    if newest is None or newest[0] != table.id or newest[1] > table.version or newest[2]:
        return False
    connection.execute(_VERSION, (table.version, table.keyspace, table.name, table.id, table.version))
    return True


def _check_types(connection: Connection, plan: TablePlan) -> None:
    """A column keeps the type that it was loaded with: values of two types cannot be told apart or converted."""
    for table, columns in ddl.tables(plan):
        connection.execute(f"CREATE TEMPORARY TABLE cdc_wanted ({', '.join(columns)})".encode())
        other = connection.execute(_OTHER_TYPE, (table,)).fetchone()
        connection.execute("DROP TABLE cdc_wanted")
        if other is not None:
            name, held, wanted = other
            raise ConfigurationError(
                f"expected column {name} of type {wanted}, found it loaded as {held}: with another profile, override "
                "or masking rule; load into another database, or drop the table to load it again",
                where=table,
            )


def _replace_view(connection: Connection, name: str, view: str) -> bool:
    """A view whose columns changed otherwise than at its end has to be made anew; what was granted on it stays."""
    if _runs(connection, view):
        return True
    with kept_grants(connection, name):
        if _runs(connection, f"DROP VIEW {name}"):
            connection.execute(view.encode())
            return True
    if _runs(connection, _appending(connection, name, view)):
        return True
    blocking = ", ".join(dependents(connection, name))
    log.warning("view kept as it is", view=name, message=f"expected to make it anew, found {blocking} to depend on it")
    return False


def _runs(connection: Connection, text: str) -> bool:
    """Runs what the columns or the dependents of a view may not allow."""
    try:
        with connection.transaction():
            connection.execute(text.encode())
    except (psycopg.errors.InvalidTableDefinition, psycopg.errors.DependentObjectsStillExist):
        return False
    return True


def _appending(connection: Connection, name: str, view: str) -> str:
    """The same view with the columns that are there first, and new ones behind them."""
    head, query = view.split(" AS ", 1)
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        wanted = cursor.execute(f"SELECT * FROM ({query}) v LIMIT 0".encode()).description or []
        found = cursor.execute(f"SELECT * FROM {name} LIMIT 0".encode()).description or []
    known = [column.name for column in found]
    order = [*known, *(column.name for column in wanted if column.name not in known)]
    if not {*known} <= {column.name for column in wanted}:
        return view
    return f"{head} AS SELECT {', '.join(map(quoted, order))} FROM ({query}) v"


@contextmanager
def kept_grants(connection: Connection, name: str) -> Iterator[None]:
    """What was granted on a relation is granted on what has its name at the end of the block."""
    grants = connection.execute(_GRANTS, {"view": name}).fetchall()
    before = connection.execute("SELECT to_regclass(%s)::oid", (name,)).fetchone()
    yield
    if connection.execute("SELECT to_regclass(%s)::oid", (name,)).fetchone() != before:
        for (grant,) in grants:
            connection.execute(grant)


_DEPENDENTS = """
SELECT DISTINCT d.objid::regclass::text FROM (
  SELECT r.ev_class AS objid FROM pg_depend p JOIN pg_rewrite r ON r.oid = p.objid
  WHERE p.classid = 'pg_rewrite'::regclass AND p.refobjid = to_regclass(%(name)s) AND r.ev_class <> p.refobjid
  UNION SELECT c.conrelid FROM pg_constraint c WHERE c.confrelid = to_regclass(%(name)s)) d ORDER BY 1
"""


def dependents(connection: Connection, name: str) -> list[str]:
    """Views and tables of others that depend on a relation."""
    return [row[0] for row in connection.execute(_DEPENDENTS, {"name": name}).fetchall()]


_GRANTS = """
SELECT format('GRANT %%s ON %%s TO %%s%%s', a.privilege_type, %(view)s::text,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass(%(view)s) AND a.grantee <> c.relowner
"""


def _is_done(connection: Connection, name: str, text: str, *relations: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM cdc.cdc_ddl WHERE (name, fingerprint) = (%s, %s)", (name, _fingerprint(text))
    ).fetchone()
    if row is None:
        return False
    missing = connection.execute(
        "SELECT count(*) FROM unnest(%s::text[]) r WHERE to_regclass(r) IS NULL", (list(relations),)
    ).fetchone()
    return missing == (0,)


def _store(connection: Connection, name: str, text: str, *, alone: bool = False) -> None:
    """Remembers what was run; `alone`: it replaced what was run under that name before."""
    if alone:
        connection.execute("DELETE FROM cdc.cdc_ddl WHERE name = %s", (name,))
    connection.execute("INSERT INTO cdc.cdc_ddl VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, _fingerprint(text)))


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
