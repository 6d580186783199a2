"""What users read of a table: a view of its state, or a table kept equal to it; from one to the other, both ways.

What was granted stays. Where something of the user's own depends on what has to be replaced, it stays as it is, the
log says what is in the way, and loading goes on; the next start tries again.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import psycopg
import structlog

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres import ddl, migrate, surface, touched
from cdc_pipeline.load.postgres.plan import TablePlan

_SURFACES = """
CREATE TABLE IF NOT EXISTS cdc.cdc_surfaces (
  name text PRIMARY KEY, table_id uuid NOT NULL, keys text[] NOT NULL, columns jsonb NOT NULL, unique_by text NOT NULL,
  refresh text NOT NULL, filling text NOT NULL)
"""
_KNOWN = "SELECT table_id, keys, columns, unique_by FROM cdc.cdc_surfaces WHERE name = %s"
_KIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)"
_DROPPED = "UPDATE cdc.cdc_tables SET dropped = true WHERE table_id = %s"
_KEEP = """
INSERT INTO cdc.cdc_surfaces VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET
  table_id = excluded.table_id, keys = excluded.keys, columns = excluded.columns, unique_by = excluded.unique_by,
  refresh = excluded.refresh, filling = excluded.filling
"""
Connection = psycopg.Connection[Any]
log = structlog.get_logger()


def publish(connection: Connection, plan: TablePlan) -> TablePlan:
    """Gives users what the plan says, where it is the newest of its name; returns the plan as that could be done."""
    plan = dataclasses.replace(plan, kept=migrate.kept(connection, plan))
    if not migrate.is_newest(connection, plan.table):
        known = _known(connection, plan)
        return dataclasses.replace(plan, is_table=known is not None and known[0] == plan.table.id)
    return _as_table(connection, plan) if plan.is_table else _as_view(connection, plan)


def _as_view(connection: Connection, plan: TablePlan) -> TablePlan:
    if _known(connection, plan) is None:
        migrate.show(connection, plan.public, ddl.view(plan))
        return plan
    was = dataclasses.replace(plan, is_table=True)
    with migrate.kept_grants(connection, plan.public):
        if not dropped(connection, plan.public, "TABLE"):
            return _as_table(connection, was)
        connection.execute("DELETE FROM cdc.cdc_surfaces WHERE name = %s", (plan.public,))
        connection.execute(f"DROP VIEW IF EXISTS {was.view}".encode())
        connection.execute(f"DROP TABLE IF EXISTS {plan.expiries}".encode())
        migrate.show(connection, plan.public, ddl.view(plan))
    return plan


def _as_table(connection: Connection, plan: TablePlan) -> TablePlan:
    migrate.once(connection, "surfaces", [_SURFACES], "cdc.cdc_surfaces")
    kind, known = connection.execute(_KIND, (plan.public,)).fetchone(), _known(connection, plan)
    if kind == ("r",) and known is None:
        raise ConfigurationError(
            "expected no table of this name but the pipeline's own, found one: drop it, or choose surface: view",
            where=plan.public,
        )
    if kind == ("r",) and _shape(plan) == known and migrate.is_shown(connection, plan.view, ddl.view(plan)):
        return plan
    touched.lock(connection, plan, exclusive=True)
    with migrate.kept_grants(connection, plan.public):
        if kind == ("v",) and not dropped(connection, plan.public, "VIEW"):
            return _as_view(connection, dataclasses.replace(plan, is_table=False))
        migrate.show(connection, plan.view, ddl.view(plan))
        _reshape(connection, plan, known if kind == ("r",) else None)
        touched.fill(connection, plan)
    return plan


def remove(connection: Connection, plan: TablePlan) -> None:
    """Removes a table of Cassandra's: what users read of it, unless a younger one has its name, and its state.

    What a lane that is behind still brings is kept apart, shown to nobody, and removed when it comes to the same place.
    Where something of the user's own depends on what users read, that stays, and the log says so.
    """
    shown = migrate.is_newest(connection, plan.table)
    connection.execute(_DROPPED, (plan.table.id,))
    relations = [plan.view, plan.public] if plan.is_table else [plan.public]
    for name in reversed(relations) if shown else ():
        kind = connection.execute(_KIND, (name,)).fetchone()
        if kind is not None and not dropped(connection, name, "TABLE" if kind == ("r",) else "VIEW"):
            return
    if plan.is_table:
        connection.execute("DELETE FROM cdc.cdc_surfaces WHERE table_id = %s", (plan.table.id,))
        connection.execute(f"DROP TABLE IF EXISTS {plan.expiries}".encode())
    for name in ddl.relations(plan):
        connection.execute(f"DROP TABLE IF EXISTS {name}".encode())


def _known(connection: Connection, plan: TablePlan) -> tuple[Any, ...] | None:
    if connection.execute("SELECT to_regclass('cdc.cdc_surfaces')").fetchone() == (None,):
        return None
    return connection.execute(_KNOWN, (plan.public,)).fetchone()


def _shape(plan: TablePlan) -> tuple[Any, ...]:
    return plan.table.id, list(surface.keys(plan).values()), surface.columns(plan), surface.index(plan)


def _reshape(connection: Connection, plan: TablePlan, known: tuple[Any, ...] | None) -> None:
    """Columns that a table gained, lost or renamed; those that users added to it are left."""
    connection.execute(surface.create(plan).encode())
    if known is not None:
        table_id, keys, columns, unique_by = known
        if table_id != plan.table.id:
            connection.execute(f"DELETE FROM {plan.public}".encode())
        if unique_by != surface.index(plan):
            _drop_index(connection, plan, keys)
        if len(keys) == len(surface.keys(plan)):
            columns = _renamed(connection, plan, keys, columns)
        _alter(connection, plan, columns)
    for statement in surface.statements(plan):
        connection.execute(statement.encode())
    shape = _shape(plan)
    kept = (surface.refresh(plan), ";\n".join(surface.filling(plan)))
    connection.execute(_KEEP, (plan.public, shape[0], shape[1], json.dumps(shape[2]), shape[3], *kept))


def _drop_index(connection: Connection, plan: TablePlan, keys: list[str]) -> None:
    name = surface.named(plan.public, ":key")
    connection.execute(f"ALTER TABLE {plan.public} DROP CONSTRAINT IF EXISTS {name}".encode())
    schema = plan.public.split('"."', 1)[0] + '"'
    connection.execute(f"DROP INDEX IF EXISTS {schema}.{name}".encode())
    for key in keys:
        connection.execute(f"ALTER TABLE {plan.public} ALTER {key} DROP NOT NULL".encode())


def _renamed(connection: Connection, plan: TablePlan, keys: list[str], columns: dict[str, str]) -> dict[str, str]:
    for old, new in zip(keys, surface.keys(plan).values(), strict=True):
        if old != new:
            connection.execute(f"ALTER TABLE {plan.public} RENAME COLUMN {old} TO {new}".encode())
            columns = {new if name == old else name: sql for name, sql in columns.items()}
    return columns


def _alter(connection: Connection, plan: TablePlan, columns: dict[str, str]) -> None:
    wanted = surface.columns(plan)
    for name, sql in columns.items():
        if wanted.get(name) != sql:
            try:
                with connection.transaction():
                    connection.execute(f"ALTER TABLE {plan.public} DROP COLUMN {name}".encode())
            except psycopg.errors.DependentObjectsStillExist:
                if name in wanted:
                    raise ConfigurationError(
                        f"expected to give column {name} another type, found something that depends on it: drop that",
                        where=plan.public,
                    ) from None
                _say(connection, plan.public, f"column {name} is no more")
    for name, sql in wanted.items():
        if columns.get(name) != sql:
            connection.execute(f"ALTER TABLE {plan.public} ADD COLUMN {name} {sql}".encode())


def dropped(connection: Connection, name: str, kind: str) -> bool:
    """Drops a view or table of ours, unless something of the user's own depends on it."""
    try:
        with connection.transaction():
            connection.execute(f"DROP {kind} {name}".encode())
    except psycopg.errors.DependentObjectsStillExist:
        _say(connection, name, "it should be dropped")
        return False
    return True


def _say(connection: Connection, name: str, why: str) -> None:
    blocking = ", ".join(migrate.dependents(connection, name)) or "something"
    log.warning("kept as it is", relation=name, message=f"{why}, but {blocking} depends on it: drop that to let it")
