"""Rows of `system_schema` as they change: the log's word, merged by writetime, over a snapshot's."""

from __future__ import annotations

import json
from typing import Any

from cdc_pipeline.schema import SystemRows, tables_of
from cdc_pipeline_tests.schema.rows import snapshot

KEY = ("ks", "t", "v")
TEXT = {"kind": "regular", "position": -1, "type": "text", "clustering_order": "none"}


def rows() -> SystemRows:
    """The rows of the snapshot that the other tests use."""
    return SystemRows(snapshot())


def of(found: SystemRows, table: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows of one table by the rest of their keys."""
    keys = {"columns": ("table_name", "column_name"), "dropped_columns": ("table_name", "column_name")}
    names = keys.get(table, ("table_name",))
    return {tuple(str(row[name]) for name in names): dict(row) for row in found.of()[table]}


def test_a_snapshot_comes_back() -> None:
    """Rows that nothing changed make the same tables as the snapshot."""
    assert list(tables_of(rows().of(), "here")) == list(tables_of(snapshot(), "here"))


def test_the_greatest_writetime_wins() -> None:
    """The log is younger than the snapshot; of two words of the log the younger, whichever comes first, counts."""
    found = rows()
    assert found.put("columns", KEY, TEXT | {"type": "blob"}, 10)
    assert not found.put("columns", KEY, TEXT | {"type": "int"}, 9)
    assert of(found, "columns")["t", "v"]["type"] == "blob"
    assert found.put("columns", KEY, TEXT | {"type": "int"}, 11)
    assert not found.put("columns", KEY, TEXT | {"type": "int"}, 12)


def test_deletions_by_prefix() -> None:
    """A deletion takes all rows below it that are not younger, and those that come late."""
    found = rows()
    found.put("columns", ("ks", "t", "young"), TEXT, 20)
    assert found.remove("columns", ("ks", "t"), 15)
    assert list(of(found, "columns")) == [("t", "young")]
    assert not found.put("columns", ("ks", "t", "late"), TEXT, 15)
    assert found.put("columns", ("ks", "t", "new"), TEXT, 16)
    assert not found.remove("columns", ("ks", "t"), 15)
    assert found.remove("columns", ("ks",), 30)
    assert not of(found, "columns")


def test_what_a_node_rewrites_at_its_start_is_not_deleted() -> None:
    """A starting node deletes the rows of its own keyspaces and writes them again: without them nothing is followed."""
    found = SystemRows({"tables": [{"keyspace_name": "system_schema", "table_name": "tables", "id": "x"}]})
    assert not found.remove("tables", ("system_schema",), 10)
    assert of(found, "tables")


def test_a_snapshot_from_the_future() -> None:
    """Where the log writes a column, what a newer snapshot says of it later, another name or a drop, is not yet so."""
    found = SystemRows(
        {
            "columns": [
                {"keyspace_name": "ks", "table_name": "t", "column_name": "new", "kind": "clustering", "position": 0}
            ],
            "dropped_columns": [
                {
                    "keyspace_name": "ks",
                    "table_name": "t",
                    "column_name": "v",
                    "dropped_time": "2026-01-01 00:00:00.000Z",
                }
            ],
        }
    )
    assert found.put("columns", ("ks", "t", "old"), {"kind": "clustering", "position": 0, "type": "int"}, 5)
    assert list(of(found, "columns")) == [("t", "old")]
    drop = 1_767_225_600_000_000
    found.put("columns", KEY, TEXT, drop + 1)
    assert list(of(found, "dropped_columns")) == [("t", "v")]
    found.put("columns", KEY, TEXT | {"type": "blob"}, drop + 2)
    assert list(of(found, "dropped_columns")) == [("t", "v")]
    earlier = SystemRows({"dropped_columns": [dict(row) for row in found.of()["dropped_columns"]]})
    earlier.put("columns", KEY, TEXT, drop)
    assert not of(earlier, "dropped_columns")


def test_kept_and_read_again() -> None:
    """As JSON it keeps rows, writetimes and deletions: what is late stays late."""
    found = rows()
    found.put("columns", KEY, TEXT | {"type": "blob"}, 10)
    found.remove("tables", ("ks", "gone"), 10)
    again = SystemRows.from_json(json.loads(json.dumps(found.to_json())))
    assert again.of() == found.of()
    assert not again.put("columns", KEY, TEXT, 9)
    assert not again.put("tables", ("ks", "gone"), {"id": "x"}, 10)
    assert again.versions() == found.versions()


def test_versions() -> None:
    """A table's version is the youngest word of the log about it or its keyspace's types; 0 where there is none."""
    found = rows()
    assert set(found.versions().values()) == {0}
    found.put("columns", KEY, TEXT, 10)
    assert found.versions()["ks", "t"] == 10
    found.put("types", ("ks", "name"), {"field_names": ["a"], "field_types": ["int"]}, 12)
    assert found.versions()["ks", "t"] == 12
    found.remove("columns", ("ks", "t", "m"), 15)
    assert found.versions()["ks", "t"] == 15
    assert {table.version for table in tables_of(found.of(), "here", found.versions())} == {15}


def test_taken_over_from_another_source() -> None:
    """A table that another source knows comes with its columns, keyspace and types, and no other table does."""
    found, other = SystemRows({}), rows()
    other.put("tables", ("ks", "second"), {"id": "y"}, 3)
    found.take_over(other, "ks", "t", 50)
    assert found.only("ks", "t") == other.only("ks", "t")
    assert list(of(found, "tables")) == [("t",)]
    assert found.versions()["ks", "t"] == 50


def test_a_copy_changes_apart() -> None:
    """What is tried on a copy leaves the original."""
    found = rows()
    copy = found.copy()
    copy.remove("tables", ("ks",), 5)
    assert of(found, "tables")
    assert not found.same(copy, "ks")
    assert found.same(rows(), "ks")
