from __future__ import annotations

import pytest

from cdc_pipeline.types import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Scalar,
    SetType,
    TupleType,
    UserType,
    VectorType,
)
from cdc_pipeline_tests.types.values import COMPOSITE, FLOAT, INT, LEXICAL_UUID, SCALARS, TEXT

PERSON = UserType("ks", "person", ("name",), (TEXT,))


@pytest.mark.parametrize(
    ("cql_type", "cql"),
    [
        (TEXT, "text"),
        (ListType(INT, multi_cell=True), "list<int>"),
        (SetType(ListType(INT)), "frozen<set<frozen<list<int>>>>"),
        (MapType(TEXT, PERSON, multi_cell=True), "map<text, frozen<person>>"),
        (TupleType((INT, TEXT)), "frozen<tuple<int, text>>"),
        (UserType("ks", "person", (), (), multi_cell=True), "person"),
        (UserType("ks", "MyType", (), ()), 'frozen<"MyType">'),
        (UserType("ks", 'a "b"', (), (), multi_cell=True), '"a ""b"""'),
        (UserType("ks", "text", (), (), multi_cell=True), '"text"'),
        (VectorType(FLOAT, 3), "vector<float, 3>"),
        (LEXICAL_UUID, "'org.apache.cassandra.db.marshal.LexicalUUIDType'"),
    ],
)
def test_cql(cql_type: CqlType, cql: str) -> None:
    """A type prints as `system_schema.columns` shows it."""
    assert cql_type.cql == cql


@pytest.mark.parametrize(
    ("name", "length"),
    [("boolean", 1), ("int", 4), ("float", 4), ("bigint", 8), ("double", 8), ("timestamp", 8), ("timeuuid", 16)],
)
def test_bare_scalars(name: str, length: int) -> None:
    """These scalars stand bare on the wire."""
    assert Scalar(name).fixed_length == length


@pytest.mark.parametrize("name", ["tinyint", "smallint", "date", "time", "counter", "text", "varint", "inet"])
def test_scalars_with_a_length(name: str) -> None:
    """tinyint, smallint, date, time and counter carry a length although theirs never changes."""
    assert Scalar(name).fixed_length is None


@pytest.mark.parametrize(
    ("cql_type", "length"),
    [
        (VectorType(FLOAT, 3), 12),
        (VectorType(VectorType(FLOAT, 2), 2), 16),
        (VectorType(Scalar("smallint"), 3), None),
        (VectorType(TEXT, 3), None),
        (LEXICAL_UUID, 16),
        (CustomType("org.apache.cassandra.db.marshal.DateType"), 8),
        (CustomType("org.apache.cassandra.db.marshal.EmptyType"), 0),
        (COMPOSITE, None),
        (TupleType((INT,)), None),
        (ListType(INT), None),
    ],
)
def test_composed_lengths(cql_type: CqlType, length: int | None) -> None:
    """A vector is of fixed length when its element is; a custom type when its class says so."""
    assert cql_type.fixed_length == length


def test_equal_by_content() -> None:
    """Types are equal and hash alike by content, multi-cell included."""
    assert {ListType(INT), ListType(Scalar("int"))} == {ListType(INT)}
    assert ListType(INT) != ListType(INT, multi_cell=True)
    assert len({*SCALARS}) == len(SCALARS)


@pytest.mark.parametrize("cql_type", [TEXT, TupleType((INT,)), VectorType(INT, 1), COMPOSITE])
def test_never_multi_cell(cql_type: CqlType) -> None:
    """Scalars, tuples, vectors and custom types are always single values."""
    assert not cql_type.multi_cell


def test_short_name() -> None:
    """A class is known by its name without package and parameters."""
    assert COMPOSITE.short_name == "CompositeType"
    assert CustomType("Foreign").short_name == "Foreign"
