"""DDL and TRUNCATE, read from the log itself: mutations of `system_schema` and of `system.local` (document, 8.6).

The columns of these tables differ a little between versions of Cassandra, so they are taken from the snapshot like all
others; a snapshot without them cannot be followed.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cdc_pipeline.change import ChangeBatch, ChangeEvent, EventType, Position, SchemaChange
from cdc_pipeline.errors import SchemaError
from cdc_pipeline.schema import SYSTEM_KEYSPACES, ChangeKind, Schema, SystemRows, Table, tables_of
from cdc_pipeline.schema.changes import table_changes
from cdc_pipeline.schema.system import KEYS, used
from cdc_pipeline.types import to_json

_LOCAL = "system.local"
_TRUNCATED = "truncated_at"
_NEEDED = ("keyspaces", "tables", "columns", "types")
_TRUNCATION_BYTES = 20
_WHERE = "the log"


class SchemaFollower:
    """Holds the schema of a place of the log, and moves it on by what the log says."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @property
    def follows(self) -> bool:
        """Whether the schema says how to read its own tables."""
        return self.schema.rows is not None and all(self._is_known(f"system_schema.{name}") for name in _NEEDED)

    def is_control(self, table: Table) -> bool:
        """Whether the table's mutations change the schema or truncate a table."""
        if table.full_name == _LOCAL:
            return any(column.name == _TRUNCATED for column in table.columns)
        return table.keyspace == "system_schema" and table.name in KEYS

    def apply(self, batches: Iterable[ChangeBatch], position: Position) -> tuple[SchemaChange, ...]:
        """Applies one mutation of control tables that ends at `position`; returns what it really changed.

        `ValueError` or `SchemaError` when it cannot be read; the schema stays as it was then.
        """
        rows: SystemRows | None = None
        touched: set[str] = set()
        truncations: list[SchemaChange] = []
        batches = tuple(batches)
        for batch in batches:
            if batch.table.full_name == _LOCAL:
                truncations += self._truncations(batch, position)
                continue
            rows = rows or self._rows().copy()
            touched |= _written(rows, batch)
        if rows is None:
            return tuple(truncations)
        touched |= rows.follow_counters(*_made(batches), str(position))
        before = self._rows()  # a starting node deletes what it then writes again in the same mutation
        changed = {keyspace for keyspace in touched if not rows.same(before, keyspace)}
        return (*self._replace(rows, changed, position), *truncations)

    def adopt(self, fresh: Schema, table_id: uuid.UUID, column: str | None, position: Position) -> bool:
        """Takes a table over from a newer source, when that knows the table, and the column where one is named.

        It counts as changed now: a source that is read because the log lacks something is younger than the log.
        """
        table = fresh.tables.get(table_id)
        if table is None or (column is not None and column not in table.value_ids):
            return False
        is_current = table in fresh.current
        rows = self.schema.rows.copy() if self.schema.rows is not None else None
        if is_current and rows is not None and fresh.rows is not None:
            rows.take_over(fresh.rows, table.keyspace, table.name, time.time_ns() // 1000)
            try:
                self._replace(rows, {table.keyspace}, position)
            except SchemaError:
                return False
        else:
            others = [one for one in self.schema.current if not is_current or one.full_name != table.full_name]
            older = Schema([table], self.schema)
            self.schema = Schema([*others, table] if is_current else others, older, rows, self.schema.removed)
        return True

    def _is_known(self, name: str) -> bool:
        return any(table.full_name == name for table in self.schema.current)

    def _rows(self) -> SystemRows:
        assert self.schema.rows is not None
        return self.schema.rows

    def _replace(self, rows: SystemRows, touched: set[str], position: Position) -> list[SchemaChange]:
        """Makes the tables of the touched keyspaces anew; the others stay the objects that they are."""
        if not touched:
            self.schema = Schema(self.schema.current, self.schema, rows, self.schema.removed)
            return []
        old = self._rows()
        kept = [table for table in self.schema.current if table.keyspace not in touched]
        before = {table.id: table for table in self.schema.current if table.keyspace in touched}
        made = [_as_before(before.get(t.id), t) for t in _tables_of(rows, touched)]
        after = {table.id: table for table in made}
        gone = [old.only(table.keyspace, table.name) for key, table in before.items() if key not in after]
        self.schema = Schema([*kept, *made], self.schema, rows, (*self.schema.removed, *gone))
        changes = list(_changes(before, after, position))
        named = {change.keyspace for change in changes}
        return [
            *changes,
            *(
                SchemaChange(ChangeKind.ALTERED, position, keyspace, detail=", ".join(old.types_unlike(rows, keyspace)))
                for keyspace in sorted(touched - named)
            ),
        ]

    def _truncations(self, batch: ChangeBatch, position: Position) -> Iterator[SchemaChange]:
        """The user tables that were truncated: path = table id, value = segment id, position, ms since 1970."""
        for event in batch.events():
            found = event.columns.get(_TRUNCATED)
            for path, value in found.items() if isinstance(found, dict) else ():
                table = self.schema.tables.get(uuid.UUID(bytes=path))
                if value is None or table is None or table.keyspace in SYSTEM_KEYSPACES:
                    continue
                if len(value) != _TRUNCATION_BYTES:
                    raise ValueError(f"{_LOCAL}.{_TRUNCATED}: expected {_TRUNCATION_BYTES} bytes, found {len(value)}")
                micros = int.from_bytes(value[12:], "big", signed=True) * 1000 + 999
                yield SchemaChange(
                    ChangeKind.TRUNCATED, position, table.keyspace, table.name, table.id, truncated_micros=micros
                )


def _tables_of(rows: SystemRows, keyspaces: set[str]) -> Iterator[Table]:
    return tables_of(rows.of(keyspaces), _WHERE, rows.versions(), rows.complete())


def _as_before(known: Table | None, table: Table) -> Table:
    """The known object where nothing changed, so that nobody prepares it again."""
    return known if known == table and known is not None and known.version == table.version else table


def _changes(
    before: Mapping[uuid.UUID, Table], after: Mapping[uuid.UUID, Table], position: Position
) -> Iterator[SchemaChange]:
    for table_id in sorted(before.keys() | after.keys(), key=lambda one: (one not in before, str(one))):
        old, new = before.get(table_id), after.get(table_id)
        table = new or old
        assert table is not None
        for change in table_changes(old, new):
            yield SchemaChange(
                change.kind, position, table.keyspace, table.name, table_id, change.column, change.detail
            )
        if old is not None and new is not None and old.complete_since is None and new.complete_since is not None:
            yield SchemaChange(ChangeKind.CREATED, position, table.keyspace, table.name, table_id)


def _made(batches: Sequence[ChangeBatch]) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """The tables whose row a mutation writes, and the counter tables that it makes: only CREATE, and a node that takes
    over a schema which it lacks, write their partition key and a counter, too."""
    written: dict[str, set[tuple[str, ...]]] = {"tables": set(), "partition_key": set(), "counter": set()}
    for batch in batches:
        if batch.table.full_name not in ("system_schema.tables", "system_schema.columns"):
            continue
        for event in batch.events():
            if event.event_type not in (EventType.INSERT, EventType.UPDATE):
                continue
            key = (*_texts(event.partition_key), *_texts(event.clustering_key))[:2]
            if batch.table.name == "tables":
                written["tables"].add(key)
            for name in ("kind", "type"):
                what = (event.columns.get(name) or b"").decode()
                if what in ("partition_key", "counter"):
                    written[what].add(key)
    return written["tables"], written["tables"] & written["partition_key"] & written["counter"]


def _written(rows: SystemRows, batch: ChangeBatch) -> set[str]:
    """Applies a batch of one `system_schema` table; returns the keyspaces whose rows are different now."""
    name = batch.table.name
    touched = set()
    for event in batch.events():
        key = _texts(event.partition_key)
        changed = False
        if event.event_type is EventType.RANGE_DELETE and event.deleted_micros is not None:
            assert event.start is not None
            if event.end is None or event.end.values != event.start.values:
                raise ValueError(f"{batch.table.full_name}: expected a deletion by prefix, found another range")
            prefix = tuple(value.decode() for value in event.start.values if value is not None)
            changed = rows.remove(name, key + prefix, event.deleted_micros)
        else:
            key += _texts(event.clustering_key)
            if event.deleted_micros is not None:
                changed = rows.remove(name, key, event.deleted_micros)
            if event.event_type in (EventType.INSERT, EventType.UPDATE):
                changed |= rows.put(name, key, _values(batch.table, event), event.timestamp_micros)
        if changed:
            touched.add(key[0])
    return touched


def _texts(key: Mapping[str, bytes | None]) -> tuple[str, ...]:
    return tuple((value or b"").decode() for value in key.values())


def _values(table: Table, event: ChangeEvent) -> dict[str, Any]:
    """The columns that count, as plain JSON like a snapshot's."""
    types = {column.name: column.type for column in table.columns}
    return {
        name: None if value is None else json.loads(to_json(types[name], "destination")(value))
        for name, value in event.columns.items()
        if name in types and used(table.name, name)
    }
