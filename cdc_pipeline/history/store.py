"""The history of one shard's schema: a small JSON file for each place of the log where it changed.

`<segment id>-<offset>.json` holds the rows of `system_schema` from that place on, what changed there, and the tables
that were dropped before, whose late mutations are still read. `begun.json` names the segment up to whose start every
change is in here. All lanes of a shard write the same files, each before it passes the place.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_pipeline.change import Position, SchemaChange, parse_segment_name
from cdc_pipeline.errors import ConfigurationError, SchemaError
from cdc_pipeline.schema import ChangeKind, Schema, SystemRows, tables_of

_BEGUN = "begun.json"


@dataclass(frozen=True)
class Entry:
    """The schema from `position` on, and what happened there; no changes: another source knew more than the log."""

    position: Position
    schema: Schema
    changes: tuple[SchemaChange, ...] = ()


class SchemaHistory:
    """The files of one shard in one folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, entry: Entry) -> None:
        """Keeps a change, durably; one that is kept already stays. `ConfigurationError` when it cannot be written."""
        path = self.folder / _file_name(entry.position)
        if path.exists() or entry.schema.rows is None:
            return
        self._write(path, _to_json(entry))

    def latest(self, position: Position) -> Entry | None:
        """The last change at or before a position. `SchemaError` names a file that cannot be read."""
        names = [name for name in self._names() if name <= _file_name(position)]
        return self._read(names[-1]) if names else None

    def last(self) -> Entry | None:
        """The newest change; None when the log changed nothing so far."""
        names = self._names()
        return self._read(names[-1]) if names else None

    def entries(self) -> Iterator[Entry]:
        """All changes in the log's order."""
        for name in self._names():
            yield self._read(name)

    def begin(self, segment: str) -> None:
        """Notes that every change before this segment is in here; an earlier one says nothing new."""
        begun = self.begun()
        if begun is None or Position(begun, 0) < Position(segment, 0):
            self._write(self.folder / _BEGUN, {"segment": segment})

    def begun(self) -> str | None:
        """The last segment that was begun; None when nothing is known."""
        try:
            segment = json.loads((self.folder / _BEGUN).read_bytes())["segment"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # the log is looked through again
        return segment if isinstance(segment, str) and parse_segment_name(segment) is not None else None

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.glob("[0-9]*-[0-9]*.json"))
        except OSError:
            return []

    def _read(self, name: str) -> Entry:
        path = self.folder / name
        try:
            return _from_json(json.loads(path.read_bytes()), str(path))
        except OSError as error:
            raise ConfigurationError(f"expected a readable file, found: {error.strerror}", where=str(path)) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SchemaError(
                f"{path}: expected an entry of the schema's history, found something else; without the file it is "
                "made again from the log at hand"
            ) from None

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Whole or not at all: a temporary file of this process, then a rename."""
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=False, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ConfigurationError(
                f"expected a folder for the schema's history that can be written, found: {error.strerror}",
                where=str(self.folder),
            ) from None


def _file_name(position: Position) -> str:
    name = parse_segment_name(position.segment)
    return f"{name.id if name is not None else 0:020d}-{position.offset:012d}.json"


def _to_json(entry: Entry) -> dict[str, Any]:
    assert entry.schema.rows is not None
    return {
        "segment": entry.position.segment,
        "offset": entry.position.offset,
        "changes": [_change_json(change) for change in entry.changes],
        **entry.schema.rows.to_json(),
        "removed": list(entry.schema.removed),
    }


def _from_json(kept: Mapping[str, Any], where: str) -> Entry:
    position = Position(str(kept["segment"]), int(kept["offset"]))
    rows = SystemRows.from_json(kept)
    removed = tuple(kept["removed"])
    older: Schema | None = None
    for one in removed:
        older = Schema(tables_of(one, where, complete=rows.complete()), older)
    schema = Schema(tables_of(rows.of(), where, rows.versions(), rows.complete()), older, rows, removed)
    return Entry(position, schema, tuple(_change(change, position) for change in kept["changes"]))


def _change_json(change: SchemaChange) -> dict[str, Any]:
    return {
        "kind": str(change.kind),
        "keyspace": change.keyspace,
        "table": change.table,
        "table_id": None if change.table_id is None else str(change.table_id),
        "column": change.column,
        "detail": change.detail,
        "truncated_micros": change.truncated_micros,
    }


def _change(kept: Mapping[str, Any], position: Position) -> SchemaChange:
    return SchemaChange(
        ChangeKind(kept["kind"]),
        position,
        kept["keyspace"],
        kept["table"],
        None if kept["table_id"] is None else uuid.UUID(kept["table_id"]),
        kept["column"],
        kept["detail"],
        kept["truncated_micros"],
    )
