"""Rows of `system_schema`, as a snapshot file holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE_ID = "11111111-2222-1333-8444-555555555555"

Rows = dict[str, list[dict[str, Any]]]


def column(name: str, kind: str, type_: str, position: int = -1, table: str = "t", **more: Any) -> dict[str, Any]:
    """A row of `columns`."""
    return {
        "keyspace_name": "ks",
        "table_name": table,
        "column_name": name,
        "kind": kind,
        "type": type_,
        "position": position,
        "clustering_order": "none",
        **more,
    }


def snapshot(**more: Any) -> Rows:
    """A keyspace `ks` with a table `t`; what is given replaces a list."""
    return {
        "keyspaces": [{"keyspace_name": "ks", "durable_writes": True}],
        "tables": [
            {
                "keyspace_name": "ks",
                "table_name": "t",
                "id": TABLE_ID,
                "flags": ["compound"],
                "cdc": True,
                "gc_grace_seconds": 10,
            }
        ],
        "columns": [
            column("v", "regular", "text"),
            column("ck2", "clustering", "timeuuid", 1, clustering_order="desc"),
            column("a", "regular", "frozen<person>"),
            column("pk2", "partition_key", "int", 1),
            column("Z", "static", "set<int>"),
            column("ck1", "clustering", "text", 0, clustering_order="asc"),
            column("pk1", "partition_key", "uuid", 0),
            column("é", "regular", "int"),
        ],
        "types": [
            {"keyspace_name": "ks", "type_name": "person", "field_names": ["name"], "field_types": ["text"]},
        ],
        "dropped_columns": [],
        "views": [],
        **more,
    }


def write(path: Path, rows: Any) -> Path:
    """A snapshot file."""
    path.write_text(json.dumps(rows))
    return path
