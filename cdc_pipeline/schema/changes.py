"""Two schemas compared: which tables and columns came, went or changed. Names and types only; pure.

`compare` tells two snapshots apart for people; `table_changes` says one by one what a DDL statement did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cdc_pipeline.schema.table import Column, Table

Shape = Mapping[str, str]
"""A table as it is compared and kept: `""` maps to its id, a column's name to kind, place and type."""


def shape_of(table: Table) -> dict[str, str]:
    """What of a table counts as its schema, as plain texts; types with the fields of user types, not by name."""
    columns = {c.name: f"{c.kind} {c.position} {'desc' if c.descending else 'asc'} {c.type}" for c in table.columns}
    return {"": str(table.id), **columns}


def shapes_of(tables: Iterable[Table]) -> dict[str, dict[str, str]]:
    """The shapes of tables by full name."""
    return {table.full_name: shape_of(table) for table in tables}


@dataclass(frozen=True)
class ColumnChanges:
    """Columns of one table by name; `recreated`: the table has another id, so it was dropped and made again."""

    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    recreated: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.altered or self.recreated)

    def __str__(self) -> str:
        named = (("added", self.added), ("dropped", self.dropped), ("altered", self.altered))
        parts = [f"{what} {', '.join(columns)}" for what, columns in named if columns]
        return "; ".join([*(["recreated"] if self.recreated else []), *parts])


@dataclass(frozen=True)
class SchemaChanges:
    """Tables by full name; false when both schemas say the same."""

    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    altered: Mapping[str, ColumnChanges] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.altered)


def compare(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> SchemaChanges:
    """What changed from one set of tables (by full name) to another."""
    both = sorted(before.keys() & after.keys())
    columns = {name: _columns(before[name], after[name]) for name in both}
    return SchemaChanges(
        added=tuple(sorted(after.keys() - before.keys())),
        dropped=tuple(sorted(before.keys() - after.keys())),
        altered={name: changes for name, changes in columns.items() if changes},
    )


def _columns(before: Shape, after: Shape) -> ColumnChanges:
    old, new = before.keys() - {""}, after.keys() - {""}
    return ColumnChanges(
        added=tuple(sorted(new - old)),
        dropped=tuple(sorted(old - new)),
        altered=tuple(sorted(name for name in old & new if before[name] != after[name])),
        recreated=before.get("") != after.get(""),
    )


class ChangeKind(StrEnum):
    """What happened to a schema. ALTERED: a type, a user type, `cdc`, flags, or a keyspace."""

    CREATED = "created"
    REMOVED = "removed"
    COLUMN_ADDED = "column added"
    COLUMN_DROPPED = "column dropped"
    COLUMN_RENAMED = "column renamed"
    ALTERED = "altered"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class TableChange:
    """One thing that differs between two states of a table; `detail` in words, `text → blob`."""

    kind: ChangeKind
    column: str | None = None
    detail: str = ""


def table_changes(before: Table | None, after: Table | None) -> Iterator[TableChange]:
    """What happened from one state of a table (one id) to another; None: it is not there."""
    if before is None or after is None:
        if before is not after:
            yield TableChange(ChangeKind.CREATED if before is None else ChangeKind.REMOVED)
        return
    old, new = ({c.name: c for c in table.columns} for table in (before, after))
    places = {(c.kind, c.position): c for c in before.columns if c.is_key and c.name not in new}
    for name in new:
        if name in old:
            yield from _altered(old[name], new[name])
        elif (was := places.pop((new[name].kind, new[name].position), None)) is not None:
            yield TableChange(ChangeKind.COLUMN_RENAMED, name, f"{was.name} → {name}")
        else:
            yield TableChange(ChangeKind.COLUMN_ADDED, name, new[name].type.cql)
    left = {column.name for column in places.values()}
    for name in old:
        if name not in new and (not old[name].is_key or name in left):
            yield TableChange(ChangeKind.COLUMN_DROPPED, name)
    for what in ("cdc", "flags", "gc_grace_seconds", "durable_writes"):
        if getattr(before, what) != getattr(after, what):
            yield TableChange(ChangeKind.ALTERED, detail=f"{what} = {_plain(getattr(after, what))}")


def differences(log: Iterable[Table], other: Iterable[Table]) -> list[str]:
    """Where two sources of a schema disagree, a phrase per table: what the second says otherwise than the log."""
    ours, theirs = ({table.full_name: table for table in tables} for tables in (log, other))
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        old, new = ours.get(name), theirs.get(name)
        if old is None or new is None:
            found.append(f"{name} is only in {'the log' if new is None else 'the other'}")
        elif old.id != new.id:
            found.append(f"{name} has another id")
        else:
            changes = [f"{change.column or 'table'} {change.kind}" for change in table_changes(old, new)]
            found += [f"{name}: {', '.join(changes)}"] if changes else []
    return found


def _altered(before: Column, after: Column) -> Iterator[TableChange]:
    if before == after:
        return
    if before.type.cql != after.type.cql:
        detail = f"{before.type.cql} → {after.type.cql}"
    else:
        detail = "user type altered" if before.type != after.type else f"{before.kind} → {after.kind}"
    yield TableChange(ChangeKind.ALTERED, after.name, detail)


def _plain(value: object) -> str:
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value).lower()
