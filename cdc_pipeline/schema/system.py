"""The rows of `system_schema` as they change: what a snapshot holds, merged with what the log says, row by row.

A changed row is written whole (format document, 8.6), so the greatest writetime wins per row, and a deletion hides what
is not younger than itself. Rows of a snapshot have no writetime: every word of the log is younger.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Key = tuple[str, ...]

KEYS: Mapping[str, tuple[str, ...]] = {
    "keyspaces": ("keyspace_name",),
    "tables": ("keyspace_name", "table_name"),
    "columns": ("keyspace_name", "table_name", "column_name"),
    "types": ("keyspace_name", "type_name"),
    "dropped_columns": ("keyspace_name", "table_name", "column_name"),
    "views": ("keyspace_name", "view_name"),
}
"""The tables that are followed, with their primary keys: texts all."""

_USED: Mapping[str, tuple[str, ...]] = {
    "keyspaces": ("durable_writes",),
    "tables": ("id", "flags", "cdc", "gc_grace_seconds"),
    "columns": ("kind", "position", "type", "clustering_order"),
    "types": ("field_names", "field_types"),
    "dropped_columns": ("dropped_time", "kind", "type"),
    "views": ("id", "cdc", "gc_grace_seconds"),
}
_KEY_KINDS = frozenset({"partition_key", "clustering"})

_LARGEST_MICROS = 2**63 - 1
OWN_KEYSPACES = frozenset({"system", "system_schema"})
"""A starting node deletes the rows of these and writes them again: their deletions are passed over, because without
them nothing more could be followed."""


def used(table: str, column: str) -> bool:
    """Whether a column of a `system_schema` table says something that decoding or loading needs."""
    return column in _USED[table]


class SystemRows:
    """Rows by table and primary key, values as plain JSON; with the writetimes (µs) of what the log said."""

    def __init__(self, tables: Mapping[str, Iterable[Row]]) -> None:
        self._rows: dict[str, dict[Key, Row]] = {
            name: {
                tuple(str(row[column]) for column in key): {c: row.get(c) for c in _USED[name]}
                for row in tables.get(name, ())
                if all(column in row for column in key)
            }
            for name, key in KEYS.items()
        }
        self._written: dict[str, dict[Key, int]] = {name: {} for name in KEYS}
        self._deleted: dict[str, dict[Key, int]] = {name: {} for name in KEYS}
        self._complete: dict[str, tuple[str, str]] = {}

    def copy(self) -> SystemRows:
        """The same rows, to be changed apart."""
        other = SystemRows({})
        other._rows = {name: dict(rows) for name, rows in self._rows.items()}
        other._written = {name: dict(stamps) for name, stamps in self._written.items()}
        other._deleted = {name: dict(stamps) for name, stamps in self._deleted.items()}
        other._complete = dict(self._complete)
        return other

    # --- changing --------------------------------------------------------------------------------------------------

    def put(self, table: str, key: Key, values: Row, ts: int) -> bool:
        """Writes a row at `ts` µs; returns whether anything is different now."""
        deleted = max((self._deleted[table].get(key[:n], ts - 1) for n in range(1, len(key) + 1)), default=ts - 1)
        if deleted >= ts or self._written[table].get(key, ts) > ts:
            return False
        self._written[table][key] = ts
        old = self._rows[table].get(key)
        new = {column: values.get(column, (old or {}).get(column)) for column in _USED[table]}
        self._rows[table][key] = new
        if table == "columns":
            self._forget_the_future(key, new, ts)
        return old != new

    def _forget_the_future(self, key: Key, row: Row, ts: int) -> None:
        """A snapshot may be newer than the log: when that writes a column, what happens to it later is not yet so.

        One place in the key has one column, so another name there is a later one; and a drop comes after the writing.
        """
        columns, dropped = self._rows["columns"], self._rows["dropped_columns"]
        if row["kind"] in _KEY_KINDS:
            place = (row["kind"], row["position"])
            for other in [one for one in columns if one[:2] == key[:2] and one != key]:
                found = (columns[other]["kind"], columns[other]["position"])
                if found == place and other not in self._written["columns"]:
                    del columns[other]
        if (
            key in dropped
            and key not in self._written["dropped_columns"]
            and micros(dropped[key]["dropped_time"]) >= ts
        ):
            del dropped[key]

    def remove(self, table: str, prefix: Key, ts: int) -> bool:
        """Deletes the rows whose key begins with `prefix` at `ts` µs; returns whether any was there."""
        if prefix[0] in OWN_KEYSPACES:
            return False
        self._deleted[table][prefix] = max(ts, self._deleted[table].get(prefix, ts))
        written = self._written[table]
        gone = [key for key in self._rows[table] if key[: len(prefix)] == prefix and written.get(key, ts) <= ts]
        for key in gone:
            del self._rows[table][key]
        return bool(gone)

    def take_over(self, other: SystemRows, keyspace: str, table: str, ts: int) -> None:
        """Takes what another source says about a table, its keyspace and the user types there, as of `ts` µs."""
        for name in ("columns", "dropped_columns"):
            self.remove(name, (keyspace, table), ts - 1)
        for name, rows in other._about(keyspace, table).items():
            for key, row in rows.items():
                self.put(name, key, row, max(ts, self._written[name].get(key, ts)))

    def follow_counters(self, written: Iterable[Key], created: Iterable[Key], place: str) -> set[str]:
        """Notes of the tables whose row was written at a place which are known from their first increment on: those
        that were made there with CDC, until it is off. Returns the keyspaces where that is different now."""
        before = self._complete
        self._complete, made = dict(before), set(created)
        for key in written:
            row = self._rows["tables"].get(key)
            if row is None:
                continue
            if not row["cdc"]:
                self._complete.pop(str(row["id"]), None)
            elif key in made and "counter" in (row["flags"] or ()):
                self._complete.setdefault(str(row["id"]), (key[0], place))
        return {keyspace for _, (keyspace, _) in before.items() ^ self._complete.items()}

    # --- reading ---------------------------------------------------------------------------------------------------

    def of(self, keyspaces: Iterable[str] | None = None) -> dict[str, list[Row]]:
        """The rows of some keyspaces, or all, as a snapshot's file holds them."""
        chosen = None if keyspaces is None else set(keyspaces)
        return {
            name: _plain(name, {key: row for key, row in rows.items() if chosen is None or key[0] in chosen})
            for name, rows in self._rows.items()
        }

    def only(self, keyspace: str, table: str) -> dict[str, list[Row]]:
        """The rows about one table, with its keyspace and the user types there."""
        return {name: _plain(name, rows) for name, rows in self._about(keyspace, table).items()}

    def _about(self, keyspace: str, table: str) -> dict[str, dict[Key, Row]]:
        about = {name: (keyspace,) if name in ("keyspaces", "types") else (keyspace, table) for name in KEYS}
        return {
            name: {key: row for key, row in self._rows[name].items() if key[: len(prefix)] == prefix}
            for name, prefix in about.items()
        }

    def same(self, other: SystemRows, keyspace: str) -> bool:
        """Whether both say the same about a keyspace."""
        return self._complete_in(keyspace) == other._complete_in(keyspace) and all(
            {key: row for key, row in rows.items() if key[0] == keyspace}
            == {key: row for key, row in other._rows[name].items() if key[0] == keyspace}
            for name, rows in self._rows.items()
        )

    def _complete_in(self, keyspace: str) -> dict[str, str]:
        return {table_id: place for table_id, (of, place) in self._complete.items() if of == keyspace}

    def complete(self) -> dict[str, str]:
        """Ids of counter tables to the places of their CREATE, with CDC on ever since; dropped ones stay."""
        return {table_id: place for table_id, (_, place) in self._complete.items()}

    def types_unlike(self, other: SystemRows, keyspace: str) -> list[str]:
        """`type NAME` of each user type of a keyspace about which the two say otherwise."""
        ours, theirs = self._rows["types"], other._rows["types"]
        keys = {key for key in ours.keys() | theirs.keys() if key[0] == keyspace}
        return [f"type {key[1]}" for key in sorted(keys) if ours.get(key) != theirs.get(key)]

    def versions(self) -> dict[tuple[str, str], int]:
        """Tables to the greatest writetime (µs) of what the log said about them or about their keyspace's types."""
        types: dict[str, int] = {}
        found: dict[tuple[str, str], int] = {}
        for stamps in (self._written, self._deleted):
            for key, ts in stamps["types"].items():
                types[key[0]] = max(ts, types.get(key[0], ts))
            for name in ("tables", "columns", "dropped_columns", "views"):
                for key, ts in stamps[name].items():
                    if len(key) > 1:
                        found[key[0], key[1]] = max(ts, found.get((key[0], key[1]), ts))
        return {
            (keyspace, table): max(types.get(keyspace, 0), found.get((keyspace, table), 0))
            for name in ("tables", "views")
            for keyspace, table in self._rows[name]
        }

    # --- keeping ---------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Rows and writetimes as plain JSON."""
        return {
            "schema": self.of(),
            "written": {name: _pairs(stamps) for name, stamps in self._written.items()},
            "deleted": {name: _pairs(stamps) for name, stamps in self._deleted.items()},
            "complete": {table_id: list(known) for table_id, known in sorted(self._complete.items())},
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> SystemRows:
        """The inverse; `KeyError`, `TypeError` or `ValueError` when it is none."""
        rows = cls(kept["schema"])
        for name in KEYS:
            rows._written[name] = {tuple(key): int(ts) for key, ts in kept["written"][name]}
            rows._deleted[name] = {tuple(key): int(ts) for key, ts in kept["deleted"][name]}
        rows._complete = {table_id: (keyspace, place) for table_id, (keyspace, place) in kept["complete"].items()}
        return rows


def _plain(name: str, rows: Mapping[Key, Row]) -> list[Row]:
    return [{**dict(zip(KEYS[name], key, strict=True)), **row} for key, row in rows.items()]


def _pairs(stamps: Mapping[Key, int]) -> Sequence[Any]:
    return [[list(key), ts] for key, ts in sorted(stamps.items())]


def micros(text: str | int) -> int:
    """µs since 1970 of a `dropped_time`: ms as a number, or a timestamp's text, whose year may be beyond 9999."""
    if isinstance(text, int):
        return min(text * 1000, _LARGEST_MICROS)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return _LARGEST_MICROS  # `system.local.thrift_version` was dropped in the year 294247
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (moment - epoch) // dt.timedelta(microseconds=1)
