"""Runs the DDL that is missing, and no more: an `ALTER TABLE` or a new view would wait for every reader, and a dropped
view would lose its grants."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres import ddl
from cdc_pipeline.load.postgres.plan import TablePlan

_DDL_LOCK = 7_230_121_020_611
_PRELUDE = "functions.sql"
_FINGERPRINTS = """
CREATE SCHEMA IF NOT EXISTS cdc;
CREATE TABLE IF NOT EXISTS cdc.cdc_ddl (name text PRIMARY KEY, fingerprint text NOT NULL)
"""
_OTHER_TYPE = """
SELECT h.attname, format_type(h.atttypid, h.atttypmod), format_type(w.atttypid, w.atttypmod)
FROM pg_attribute h JOIN pg_attribute w ON w.attname = h.attname AND w.attnum > 0 AND h.attnum > 0
WHERE h.attrelid = to_regclass(%s) AND w.attrelid = 'cdc_wanted'::regclass
  AND (h.atttypid, h.atttypmod) IS DISTINCT FROM (w.atttypid, w.atttypmod)
ORDER BY h.attnum LIMIT 1
"""
_STORE = "INSERT INTO cdc.cdc_ddl VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint"


def migrate(connection: psycopg.Connection[Any], plans: Sequence[TablePlan]) -> None:
    """Brings the shared objects and the tables of these plans up to date, inside the caller's transaction.

    An advisory lock lets two start at once. What was run before, as its fingerprint says, is not run again, unless a
    table or view of it was dropped by hand.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_DDL_LOCK,))
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(_FINGERPRINTS)
    if not _is_done(connection, _PRELUDE, ddl.PRELUDE, "cdc.cdc_offsets"):
        connection.execute(ddl.PRELUDE)
        _store(connection, _PRELUDE, ddl.PRELUDE)
    for plan in plans:
        _migrate_table(connection, plan)


def _migrate_table(connection: psycopg.Connection[Any], plan: TablePlan) -> None:
    statements = [*ddl.statements(plan), ddl.view(plan)]
    text = ";\n".join(statements)
    if _is_done(connection, plan.table.full_name, text, *ddl.relations(plan)):
        return
    _check_types(connection, plan)
    for statement in statements[:-1]:
        connection.execute(statement.encode())
    _replace_view(connection, plan)
    _store(connection, plan.table.full_name, text)


def _check_types(connection: psycopg.Connection[Any], plan: TablePlan) -> None:
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


def _replace_view(connection: psycopg.Connection[Any], plan: TablePlan) -> None:
    """A view whose columns changed otherwise than at its end has to be made anew."""
    view = ddl.view(plan).encode()
    try:
        with connection.transaction():
            connection.execute(view)
    except psycopg.errors.InvalidTableDefinition:
        connection.execute(f"DROP VIEW {plan.view}".encode())
        connection.execute(view)


def _is_done(connection: psycopg.Connection[Any], name: str, text: str, *relations: str) -> bool:
    row = connection.execute("SELECT fingerprint FROM cdc.cdc_ddl WHERE name = %s", (name,)).fetchone()
    if row != (_fingerprint(text),):
        return False
    missing = connection.execute(
        "SELECT count(*) FROM unnest(%s::text[]) r WHERE to_regclass(r) IS NULL", (list(relations),)
    ).fetchone()
    return missing == (0,)


def _store(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    connection.execute(_STORE, (name, _fingerprint(text)))


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
