"""A schema snapshot: the rows of `system_schema` as JSON, and the tables made of them.

The file holds `keyspaces, tables, columns, types, dropped_columns, views` under these names, values in plain JSON.
Beside it, `schema_history/NNN.json` may hold earlier ones.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdc_pipeline.errors import ConfigurationError, SchemaError
from cdc_pipeline.schema.system import SystemRows, micros
from cdc_pipeline.schema.table import Column, ColumnKind, DroppedColumn, Table
from cdc_pipeline.types import parse_type

Row = Mapping[str, Any]
UserTypes = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]

SYSTEM_KEYSPACES = frozenset(
    {
        "system",
        "system_schema",
        "system_traces",
        "system_auth",
        "system_distributed",
        "system_views",
        "system_virtual_schema",
        "system_cluster_metadata",
    }
)
_NEEDED = ("keyspaces", "tables", "columns", "types")
_KIND_ORDER = {ColumnKind.PARTITION_KEY: 0, ColumnKind.CLUSTERING: 1, ColumnKind.STATIC: 2, ColumnKind.REGULAR: 2}


class Schema:
    """Tables and views by id; a history answers for ids that the newest snapshot lacks.

    `rows` are those of `system_schema` that the tables were made of; None where they were made otherwise. `removed` are
    the rows of tables that were dropped meanwhile: one snapshot each, the last dropped at the end.
    """

    def __init__(
        self,
        tables: Iterable[Table],
        older: Schema | None = None,
        rows: SystemRows | None = None,
        removed: Sequence[Mapping[str, Sequence[Row]]] = (),
    ) -> None:
        self.rows = rows
        self.removed = tuple(removed)
        self.tables: dict[uuid.UUID, Table] = {table.id: table for table in tables}
        self._by_name = {table.full_name: table for table in self.tables.values()}
        if older is not None:
            for table_id, table in older.tables.items():
                self.tables.setdefault(table_id, table)

    def __iter__(self) -> Iterator[Table]:
        return iter(self.tables.values())

    def table(self, full_name: str) -> Table:
        """The current table of a name; `SchemaError` when there is none."""
        try:
            return self._by_name[full_name]
        except KeyError:
            raise SchemaError(f"table {full_name}: expected in the schema, found in none of its rows") from None

    @property
    def current(self) -> tuple[Table, ...]:
        """The tables of the newest snapshot, by name."""
        return tuple(self._by_name[name] for name in sorted(self._by_name))


def load_schema(path: Path, history: Path | None = None) -> Schema:
    """The schema of a snapshot file and, where given, of a folder of earlier ones (`NNN.json`, the newest last).

    `ConfigurationError` names the file when it cannot be read, `SchemaError` the table and row that lack something.
    """
    older: Schema | None = None
    if history is not None:
        if not history.is_dir():
            raise ConfigurationError("expected a directory of schema snapshots", where=str(history))
        for snapshot in sorted(history.glob("*.json")):
            older = Schema(tables_of(_read(snapshot), where=str(snapshot)), older)
    return schema_of(_read(path), where=str(path), older=older)


def schema_of(rows: Mapping[str, Sequence[Row]], where: str, older: Schema | None = None) -> Schema:
    """The schema of `system_schema` rows; `where` names their source in errors."""
    tables = list(tables_of(rows, where))
    return Schema(tables, older, SystemRows(rows))


def _read(path: Path) -> Any:
    try:
        rows = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"expected a schema snapshot, found {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise ConfigurationError(f"expected JSON, found {error}", where=str(path)) from None
    if isinstance(rows, dict) and isinstance(rows.get("schema"), dict):
        rows = rows["schema"]  # a history's snapshot stands beside the DDL that it follows
    return rows


def tables_of(
    rows: Mapping[str, Sequence[Row]],
    where: str,
    versions: Mapping[tuple[str, str], int] | None = None,
    complete: Mapping[str, str] | None = None,
) -> Iterator[Table]:
    """The tables and views of `system_schema` rows; `where` names their source in errors.

    `versions` maps (keyspace, table) to `Table.version`, `complete` table ids to `Table.complete_since`.
    """
    if not isinstance(rows, dict) or any(not isinstance(rows.get(name), list) for name in _NEEDED):
        raise SchemaError(f"{where}: expected an object with lists of rows named {', '.join(_NEEDED)}")
    user_types: dict[str, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = defaultdict(dict)
    place = where
    try:
        for row in rows["types"]:
            fields = (tuple(row["field_names"]), tuple(row["field_types"]))
            user_types[row["keyspace_name"]][row["type_name"]] = fields
        columns = _grouped(rows["columns"])
        dropped = _grouped(rows.get("dropped_columns", []))
        durable = {row["keyspace_name"]: row.get("durable_writes", True) for row in rows["keyspaces"]}
        for kind in ("tables", "views"):
            for row in rows.get(kind, []):
                key = (row["keyspace_name"], row["table_name" if kind == "tables" else "view_name"])
                types = user_types[key[0]]
                place = f"{where}: table {key[0]}.{key[1]}"
                made = _table(key, row, columns[key], dropped[key], types, durable.get(key[0], True), kind == "views")
                version = (versions or {}).get(key, 0)
                since = (complete or {}).get(str(made.id))
                yield dataclasses.replace(made, version=version, complete_since=since) if version or since else made
                place = where
    except KeyError as error:
        raise SchemaError(f"{place}: a row lacks {error.args[0]!r}") from None
    except SchemaError as error:
        raise SchemaError(f"{place}: {error}") from None
    except (TypeError, ValueError, AttributeError) as error:  # a field, or a whole row, of another JSON type
        raise SchemaError(f"{place}: a row that cannot be read: {error}") from None


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["keyspace_name"], row["table_name"]].append(row)
    return groups


def _table(
    key: tuple[str, str], row: Row, columns: list[Row], dropped: list[Row], types: UserTypes, durable: bool, view: bool
) -> Table:
    if not columns:
        raise SchemaError("expected rows in columns, found none")
    _check_key(columns)
    return Table(
        keyspace=key[0],
        name=key[1],
        id=uuid.UUID(row["id"]),
        columns=tuple(sorted((_column(c, types) for c in columns), key=_column_order)),
        dropped=tuple(sorted((_dropped(c, types) for c in dropped), key=lambda c: c.name)),
        cdc=bool(row.get("cdc")),
        flags=frozenset(row.get("flags") or ()),
        is_view=view,
        gc_grace_seconds=int(row.get("gc_grace_seconds") or 0),
        durable_writes=bool(durable),
    )


def _check_key(columns: list[Row]) -> None:
    """Every part of the primary key has to be there: the bytes of a mutation say nothing of a part that is missing."""
    for kind in (ColumnKind.PARTITION_KEY, ColumnKind.CLUSTERING):
        positions = sorted(int(row["position"]) for row in columns if row["kind"] == kind)
        if positions != list(range(len(positions))) or (not positions and kind is ColumnKind.PARTITION_KEY):
            expected = "positions from 0 without a gap"
            raise SchemaError(f"expected {kind} columns at {expected}, found {positions or 'none'}")


def _column_order(column: Column) -> tuple[int, int, bytes]:
    return _KIND_ORDER[column.kind], column.position, column.name.encode()


def _column(row: Row, types: UserTypes) -> Column:
    return Column(
        name=row["column_name"],
        kind=ColumnKind(row["kind"]),
        type=parse_type(row["type"], row["keyspace_name"], types),
        position=int(row["position"]),
        descending=row.get("clustering_order") == "desc",
    )


def _dropped(row: Row, types: UserTypes) -> DroppedColumn:
    return DroppedColumn(
        name=row["column_name"],
        kind=ColumnKind(row.get("kind") or "regular"),
        type=parse_type(row["type"], row["keyspace_name"], types),
        dropped_micros=micros(row["dropped_time"]),
    )
