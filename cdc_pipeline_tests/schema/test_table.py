from __future__ import annotations

import dataclasses

import pytest

from cdc_pipeline.schema import Column, ColumnKind
from cdc_pipeline.types import Scalar
from cdc_pipeline_tests.decode.tables import make_table

TABLE = make_table(
    static=[("s", "text")],
    regular=[("a", "int"), ("c", "text")],
    dropped=[("a", "text", 5), ("b", "int", 6), ("z", "map<text, int>", 7)],
)


def test_groups_of_columns() -> None:
    """Columns by kind; values are the static ones, then the regular ones."""
    assert [c.name for c in TABLE.partition_key] == ["pk"]
    assert [c.name for c in TABLE.clustering] == ["ck"]
    assert [c.name for c in TABLE.primary_key] == ["pk", "ck"]
    assert [c.name for c in TABLE.values] == ["s", "a", "c"]
    assert [c.name for c in TABLE.columns if c.is_key] == ["pk", "ck"]
    assert TABLE.full_name == "ks.t"


def test_ids_of_values() -> None:
    """Cells count in the values; dropped columns that are no longer there follow, those added again do not."""
    assert TABLE.value_ids == {"s": 0, "a": 1, "c": 2, "b": 3, "z": 4}
    assert [c.name for c in TABLE.value_columns] == ["s", "a", "c", "b", "z"]


def test_columns_of_ids() -> None:
    """A column that was added again has its new type, one that is gone its last."""
    by_name = {c.name: c for c in TABLE.value_columns}
    assert by_name["a"].type == Scalar("int")
    assert by_name["b"] == Column("b", ColumnKind.REGULAR, Scalar("int"))
    assert by_name["z"].type.multi_cell


def test_table_without_values() -> None:
    """A table of keys alone has no ids."""
    table = make_table(regular=[])
    assert (table.value_ids, table.value_columns, table.values) == ({}, (), ())


@pytest.mark.parametrize(
    ("flags", "column_type", "counter"),
    [({"compound", "counter"}, "counter", True), ({"compound"}, "counter", True), ({"compound"}, "bigint", False)],
)
def test_counter_tables(flags: set[str], column_type: str, counter: bool) -> None:
    """Counters are known by the flag or by a column."""
    assert make_table(regular=[("n", column_type)], flags=frozenset(flags)).is_counter is counter


@pytest.mark.parametrize(
    ("flags", "regular", "refused"),
    [
        ({"compound"}, [("v", "text")], False),
        ({"compound", "counter"}, [("v", "counter")], False),
        ({"compound"}, [], False),
        ({"dense"}, [("value", "text")], False),
        ({"compound", "dense"}, [("value", "text")], False),
        ({"dense"}, [("value", "'org.apache.cassandra.db.marshal.EmptyType'")], True),
        ({"dense"}, [("a", "text"), ("b", "text")], True),
        ({"dense", "super"}, [("value", "map<text, text>")], True),
        ({"super"}, [("value", "text")], True),
        (set(), [("value", "text")], True),
    ],
)
def test_refusal(flags: set[str], regular: list[tuple[str, str]], refused: bool) -> None:
    """Tables with COMPACT STORAGE are refused unless they hold one value of a known type."""
    why = make_table(regular=regular, flags=frozenset(flags)).refusal
    assert ("COMPACT STORAGE" in str(why)) is refused
    assert (why is not None) is refused


def test_refusal_of_writes_that_are_not_logged() -> None:
    """A keyspace without durable writes is refused by its name, before anything else."""
    table = make_table(durable_writes=False, flags=frozenset())
    assert str(table.refusal).startswith("keyspace ks has durable_writes = false")


def test_tables_are_values() -> None:
    """Equal facts are equal tables, also after something was looked up."""
    other = dataclasses.replace(TABLE)
    assert TABLE.value_ids
    assert other == TABLE
