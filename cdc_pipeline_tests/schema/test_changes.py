from __future__ import annotations

import copy

from cdc_pipeline.schema import tables_of
from cdc_pipeline.schema.changes import ColumnChanges, Shape, compare, shapes_of
from cdc_pipeline_tests.schema.rows import column, snapshot


def shapes(**more: object) -> dict[str, dict[str, str]]:
    """The shapes of a snapshot."""
    return shapes_of(tables_of(snapshot(**more), "test"))


def columns(**changed: dict[str, object]) -> list[dict[str, object]]:
    """The snapshot's columns, some changed by name, some (None) left out."""
    return [{**row, **changed.get(row["column_name"], {})} for row in snapshot()["columns"]]


def changed(after: dict[str, dict[str, str]]) -> ColumnChanges:
    """What changed in `ks.t`."""
    return compare(shapes(), after).altered["ks.t"]


def test_the_same_is_no_change() -> None:
    """A schema compared with itself is false."""
    assert not compare(shapes(), shapes())


def test_tables_come_and_go() -> None:
    """Added and dropped tables are named."""
    one: dict[str, Shape] = {"ks.a": {"": "1"}}
    other: dict[str, Shape] = {"ks.b": {"": "2"}}
    changes = compare(one, other)
    assert (changes.added, changes.dropped, dict(changes.altered)) == (("ks.b",), ("ks.a",), {})
    assert changes


def test_columns_come_and_go() -> None:
    """Added and dropped columns are named, whatever their order."""
    rows = [*reversed([row for row in columns() if row["column_name"] != "v"]), column("w", "regular", "int")]
    assert changed(shapes(columns=rows)) == ColumnChanges(added=("w",), dropped=("v",))


def test_a_type_kind_or_order_that_changed() -> None:
    """A column whose type, kind or clustering order is another is altered."""
    rows = columns(v={"type": "int"}, ck1={"clustering_order": "desc"}, a={"kind": "static"})
    assert changed(shapes(columns=rows)) == ColumnChanges(altered=("a", "ck1", "v"))


def test_a_user_type_that_grew() -> None:
    """A field added to a user type alters the columns of that type."""
    types = copy.deepcopy(snapshot()["types"])
    types[0] = {**types[0], "field_names": ["name", "age"], "field_types": ["text", "int"]}
    assert changed(shapes(types=types)).altered == ("a",)


def test_a_table_made_again() -> None:
    """Another id under the same name is said: the log treats it as another table."""
    tables = [{**snapshot()["tables"][0], "id": "21111111-2222-1333-8444-555555555555"}]
    found = changed(shapes(tables=tables))
    assert (found, str(found)) == (ColumnChanges(recreated=True), "recreated")


def test_it_reads_well() -> None:
    """Changes print as one sentence."""
    assert str(ColumnChanges(added=("a", "b"), dropped=("c",))) == "added a, b; dropped c"
