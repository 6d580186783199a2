"""Two schemas compared: which tables and columns came, went or changed. Names and types only; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cdc_pipeline.schema.table import Table

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
