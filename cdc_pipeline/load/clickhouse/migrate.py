"""Makes what a plan needs, and no more; gives users the view of the newest table of a name.

State tables only ever gain columns, so that lanes whose logs stand before and behind a change of the schema fill the
same tables at once. There are no locks between processes: whoever made a view looks afterwards whether it is still the
newest that anybody registered, and makes that one if not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from cdc_pipeline.errors import ConfigurationError, PermanentSinkError, TransientSinkError
from cdc_pipeline.load import masking
from cdc_pipeline.load.clickhouse import ddl, names, shared, view
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.plan import TablePlan, ValueColumn
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import TableMasks

_COLUMNS = "SELECT table, name, type FROM system.columns WHERE database = {database:String}"
_VIEW = "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {name:String}"
_REGISTERED = """
SELECT table_id, tupleElement(shown, 'version') AS version, tupleElement(shown, 'view') AS text, dropped
FROM (SELECT * FROM {table} FINAL WHERE keyspace_name = {{keyspace:String}} AND table_name = {{name:String}}
  AND table_id != toUUID('{mark}'))
ORDER BY created DESC, registered DESC, table_id DESC
"""
_MASKS = """
SELECT column_name, (tupleElement(how, 'decision'), tupleElement(how, 'fingerprint'))
FROM (SELECT * FROM {table} FINAL WHERE keyspace_name = {{keyspace:String}} AND table_name = {{name:String}})
"""
_SETTLES = 10

_MARK = uuid.UUID(int=0)
"""The table id under which `cdc_tables` says that a table is being loaded again: no lane goes on before it is whole."""


class Catalog:
    """What is there in the state's database, asked once, and made where it is missing."""

    def __init__(self, connection: Connection, options: ClickHouseOptions) -> None:
        self._connection = connection
        self._options = options
        self._held: dict[str, dict[str, str]] | None = None

    @property
    def held(self) -> dict[str, dict[str, str]]:
        """Columns and their types, without spaces, of the tables of the state."""
        if self._held is None:
            self._held = {}
            for table, name, sql in self._connection.rows(_COLUMNS, {"database": self._options.state_database}):
                self._held.setdefault(table, {})[name] = _plain(sql)
        return self._held

    def begin(self) -> None:
        """Makes what all tables share."""
        if not {shared.OFFSETS, shared.TRUNCATIONS, shared.TABLES, shared.MASKS, shared.LETTERS} <= self.held.keys():
            for statement in shared.statements(self._options):
                self._connection.run(statement)
            self._held = None

    def migrate(self, destination: str, plan: TablePlan, anew: Collection[str] = ()) -> None:
        """Makes or extends the state tables of a plan; those that are loaded again only for whom they are `anew`."""
        name = plan.table.full_name
        again = f"cdc-pipeline backfill --all --anew --destination {destination} --table {name}"
        if name in self.marked - set(anew):
            raise PermanentSinkError(
                f"destination {destination}: expected table {name} whole, found it being loaded again: let {again} "
                "end, or run it once more"
            )
        gone = self._gone(plan)
        if gone:
            raise PermanentSinkError(
                f"destination {destination}: expected the state table {gone[0]}, found none: it was dropped by hand, "
                f"and what it held is in the archive alone: {again} makes and loads it again"
            )
        for table, columns, key in ddl.tables(plan):
            held = self.held.get(_unquoted(table, plan))
            if held is None:
                self._run(ddl.create(table, columns, key, self._options.cluster, plan.partition_names))
                self._held = None
                continue
            missing = [(name, sql) for name, sql in columns if name not in held]
            for name, sql in columns:
                if name in held and held[name] != _plain(sql.partition(" DEFAULT ")[0]):
                    raise ConfigurationError(
                        f"expected column {name} of type {_plain(sql)}, found it loaded as {held[name]}: with another "
                        "profile, override or masking rule; load into another state database, or drop the table to "
                        "load it again",
                        where=table,
                    )
            if missing:
                self._run(ddl.add(table, missing, self._options.cluster))
                self._held = None

    @cached_property
    def marked(self) -> set[str]:
        """The tables that are being loaded again."""
        ours = shared.named(self._options, shared.TABLES)
        rows = self._connection.rows(f"SELECT keyspace_name, table_name FROM {ours} WHERE table_id = toUUID('{_MARK}')")
        return {f"{keyspace}.{table}" for keyspace, table in rows}

    def forget(self, table: str) -> None:
        """Marks a table (`keyspace.table`) as being loaded again, and takes it out of those that were made."""
        keyspace, name = table.split(".", 1)
        marked = Table(keyspace, name, _MARK, ())
        self._register(marked, 0, 0, "", dropped=0)
        ours = shared.named(self._options, shared.TABLES)
        dropped = f"SELECT table_id FROM {ours} WHERE dropped = 1"
        self._delete(table, f"table_id != toUUID('{_MARK}') AND table_id NOT IN ({dropped})")

    def remember(self, table: str) -> None:
        """Takes the mark away: the table is whole."""
        self._delete(table, f"table_id = toUUID('{_MARK}')")

    def _delete(self, table: str, which: str) -> None:
        keyspace, name = map(names.literal, table.split(".", 1))
        ours, on = shared.named(self._options, shared.TABLES), ddl.on(self._options.cluster)
        where = f"keyspace_name = {keyspace} AND table_name = {name} AND {which}"
        self._connection.run(f"ALTER TABLE {ours}{on} DELETE WHERE {where} SETTINGS mutations_sync = 2")

    def check_masks(self, destination: str, plan: TablePlan, masks: TableMasks) -> None:
        """Remembers how the columns of a new table are masked, and refuses to mask those of a known one otherwise."""
        table = plan.table
        keys = (*plan.partition_key, *plan.clustering)
        now = masking.decided(masks, {f"{key.place} of {plan.state}": key.column.name for key in keys})
        ours = shared.named(self._options, shared.MASKS)
        known = self._masks(table)
        masking.check(destination, table.full_name, now, known)
        new = {name: how for name, how in now.items() if name not in {one[0] for one in known}}
        if new:
            rows = {
                "keyspace_name": [table.keyspace] * len(new),
                "table_name": [table.name] * len(new),
                "column_name": list(new),
                "how": [{"decision": decision, "fingerprint": fingerprint} for decision, fingerprint in new.values()],
            }
            self._connection.insert(ours, pa.table(rows))
            masking.check(destination, table.full_name, now, self._masks(table))  # another may have been as quick

    def _masks(self, table: Table) -> list[tuple[str, str, str]]:
        query = _MASKS.format(table=shared.named(self._options, shared.MASKS))
        rows = self._connection.rows(query, {"keyspace": table.keyspace, "name": table.name})
        return [(name, *how) for name, how in rows]

    def _gone(self, plan: TablePlan) -> list[str]:
        """State tables that were there when the table was registered."""
        known = [row for row in self._registered(plan.table) if row[0] == plan.table.id and not row[3]]
        if not known:
            return []
        self._held = None  # another may have made and registered them since we looked
        held = ":local" if self._options.distributed else ""
        missing = (table for table, _, _ in ddl.tables(plan) if _unquoted(table, plan) + held not in self.held)
        return [table for table in missing if table in known[0][2]][:1]  # the view that was made names those there were

    def kept(self, plan: TablePlan) -> tuple[ValueColumn, ...]:
        """The dropped columns of a plan that its state holds, of the types that they would have."""
        found = []
        for one in plan.kept:
            table = plan.static_state if one.column.kind == "static" else plan.state
            held = self.held.get(_unquoted(table, plan), {})
            if all(held.get(name) == _plain(sql) for name, sql in ddl.value_parts(one)):
                found.append(one)
        return tuple(found)

    # --- what users see --------------------------------------------------------------------------------------------

    def publish(self, plan: TablePlan, *, merged: bool) -> None:
        """Registers a table's view, and has users see the newest of its name."""
        table = plan.table
        created = table.id.time if table.id.version == 1 else 0
        known = [row for row in self._registered(table) if row[0] == table.id]
        views = view.views(plan, merged=merged, distributed=self._options.distributed)
        text = json.dumps([dataclasses.astuple(one) for one in views])
        if not known or (known[0][1], known[0][2]) != (table.version, text):
            self._register(table, created, table.version, text, dropped=0)
        self.settle(plan)

    def settle(self, plan: TablePlan) -> None:
        """Makes the views that are registered last, until nothing newer is."""
        on = ddl.on(self._options.cluster)
        for _ in range(_SETTLES):
            newest = self._registered(plan.table)[0]
            if newest[3]:
                self._connection.run(f"DROP VIEW IF EXISTS {plan.public}{on}")
                return
            missing = [one for one in map(_view, json.loads(newest[2])) if self._comment(one) != _mark(one)]
            if not missing:
                return
            for one in missing:
                self._connection.run(f"CREATE DATABASE IF NOT EXISTS {quoted(one.database)}{on}")
                self._connection.run(one.create(_mark(one), on))
        raise TransientSinkError(f"{plan.public}: expected the view to settle, found others who make it anew")

    def _comment(self, one: view.View) -> str | None:
        rows = self._connection.rows(_VIEW, {"database": one.database, "name": one.name})
        return rows[0][0] if rows else None

    def drop(self, plan: TablePlan) -> None:
        """Removes a table of Cassandra's: its state, and what users read of it unless a younger one has its name."""
        self._register(plan.table, 0, 0, "", dropped=1)
        self.settle(plan)
        on = ddl.on(self._options.cluster)
        for inner in view.views(plan)[:-1]:
            self._connection.run(f"DROP VIEW IF EXISTS {inner.quoted}{on}")
        for table, _, _ in ddl.tables(plan):
            self._run(ddl.drop(table, self._options.cluster))
        self._held = None

    def _run(self, statements: Sequence[str]) -> None:
        for statement in statements:
            self._connection.run(statement)

    def _registered(self, table: Table) -> Sequence[Sequence[Any]]:
        query = _REGISTERED.format(table=shared.named(self._options, shared.TABLES), mark=_MARK)
        return self._connection.rows(query, {"keyspace": table.keyspace, "name": table.name})

    def _register(self, table: Table, created: int, version: int, text: str, *, dropped: int) -> None:
        now = time.time_ns() // 1000
        parts = [("version", pa.uint64()), ("at", pa.uint64()), ("view", pa.string())]
        shown = pa.array([{"version": version, "at": now, "view": text}], pa.struct(parts))
        row = {
            "keyspace_name": pa.array([table.keyspace]),
            "table_name": pa.array([table.name]),
            "table_id": pa.array([table.id.bytes], pa.binary(16)),
            "created": pa.array([created], pa.int64()),
            "registered": pa.array([now], pa.uint64()),
            "shown": shown,
            "dropped": pa.array([dropped], pa.uint8()),
        }
        self._connection.insert(shared.named(self._options, shared.TABLES), pa.table(row))


def _view(registered: Sequence[str]) -> view.View:
    return view.View(*registered)


def _mark(one: view.View) -> str:
    """What a view is known by to be as it should."""
    return hashlib.sha256(one.query.encode()).hexdigest()


def _unquoted(table: str, plan: TablePlan) -> str:
    """The name of a state table in the catalog."""
    parts = {plan.state: "", plan.static_state: "static", plan.ranges: "ranges"}
    return names.state_table(plan.table, parts[table])


def _plain(sql: str) -> str:
    """A type as the catalog and we both write it."""
    return "".join(sql.split()).replace("'", "").replace("\\", "")
