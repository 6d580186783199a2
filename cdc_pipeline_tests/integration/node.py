"""A node's `cdc_raw`, written by the format document's rules, and the schema that goes with it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_pipeline.schema import Table
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.load.changes import table
from cdc_pipeline_tests.types.values import int_bytes

MICROS = 1_700_000_000_000_000
FIRST = 1_700_000_000_001
"""Id of the first segment."""

USERS = table("users", key=[("id", "int")], regular=[("email", "text"), ("name", "text")])
EVENTS = table("events", key=[("day", "int")], clustering=[("at", "int")], regular=[("what", "text")])
TABLES = (USERS, EVENTS)


def user(number: int, name: str = "x", *, email: str | None = None, at: int = MICROS) -> bytes:
    """The mutation of an INSERT into `users`."""
    cells = [] if email is None else [en.cell(email.encode())]
    columns = ["name"] if email is None else ["email", "name"]
    row = en.row(columns=[*cells, en.cell(name.encode())], live=en.Liveness(at))
    return en.mutation(en.update(USERS.id.bytes, int_bytes(number), [row], columns=columns))


def event(day: int, at: int, what: str = "y") -> bytes:
    """The mutation of an INSERT into `events`."""
    row = en.row(en.clustering([int_bytes(at)], fixed=True), [en.cell(what.encode())], live=en.Liveness(MICROS))
    return en.mutation(en.update(EVENTS.id.bytes, int_bytes(day), [row], columns=["what"]))


@dataclass
class Node:
    """A directory of segments."""

    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    def path(self, number: int = 0, version: int = 7) -> Path:
        """The file of a segment by its number, from 0."""
        return self.directory / f"CommitLog-{version}-{FIRST + number}.log"

    def index(self, number: int = 0) -> Path:
        """The file of its index."""
        return self.directory / f"CommitLog-7-{FIRST + number}_cdc.idx"

    def segment(self, number: int, *sections: Sequence[bytes], live: bool = False, index: str | None = None) -> Path:
        """Writes a segment of sections of mutations; `live` leaves it unfinished, `index` writes another index."""
        entries = [b"".join(map(en.entry, mutations)) for mutations in sections]
        data = en.segment(entries, segment_id=FIRST + number)
        self.path(number).write_bytes(data)
        durable = len(data) - 8
        self.index(number).write_text(index if index is not None else f"{durable}\n" + ("" if live else "COMPLETED\n"))
        return self.path(number)

    def spare(self, number: int) -> Path:
        """A segment made in advance: a header and no index."""
        self.path(number).write_bytes(en.segment([], segment_id=FIRST + number))
        return self.path(number)

    def flip(self, number: int, at: int) -> None:
        """Damages one byte; a negative offset counts from the end."""
        data = bytearray(self.path(number).read_bytes())
        data[at] ^= 0xFF
        self.path(number).write_bytes(data)

    def settle(self) -> None:
        """Makes every file an hour old."""
        for path in self.directory.iterdir():
            os.utime(path, (path.stat().st_mtime - 3600,) * 2)


def write_schema(path: Path, *tables: Table, durable: bool = True) -> Path:
    """`schema.json` of these tables."""
    keyspaces = sorted({one.keyspace for one in tables})
    snapshot: dict[str, list[dict[str, Any]]] = {
        "keyspaces": [{"keyspace_name": name, "durable_writes": durable} for name in keyspaces],
        "tables": [
            {
                "keyspace_name": one.keyspace,
                "table_name": one.name,
                "id": str(one.id),
                "flags": ["compound"],
                "cdc": True,
                "gc_grace_seconds": 864000,
            }
            for one in tables
        ],
        "columns": [
            {
                "keyspace_name": one.keyspace,
                "table_name": one.name,
                "column_name": column.name,
                "kind": str(column.kind),
                "position": column.position if column.is_key else -1,
                "type": column.type.cql,
                "clustering_order": "desc" if column.descending else "none",
            }
            for one in tables
            for column in one.columns
        ],
        "types": [],
        "dropped_columns": [],
        "views": [],
    }
    path.write_text(json.dumps(snapshot))
    return path
