from __future__ import annotations

import pytest
from hypothesis import assume, given

from cdc_pipeline.errors import SchemaError
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
    parse_type,
)
from cdc_pipeline_tests.types.values import COMPOSITE, FLOAT, INT, TEXT, types

USER_TYPES = {
    "address": (["street", "Zip"], ["text", "int"]),
    "MyType": (["home", "tags"], ["frozen<address>", "list<text>"]),
    "looser": (["home"], ["address"]),
}
ADDRESS = UserType("ks", "address", ("street", "Zip"), (TEXT, INT))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", INT),
        ("varchar", TEXT),
        ("list<int>", ListType(INT, multi_cell=True)),
        ("frozen<list<int>>", ListType(INT)),
        ("set<text>", SetType(TEXT, multi_cell=True)),
        ("map<text, frozen<list<int>>>", MapType(TEXT, ListType(INT), multi_cell=True)),
        ("frozen<map<text, frozen<list<int>>>>", MapType(TEXT, ListType(INT))),
        ("frozen<tuple<int, text>>", TupleType((INT, TEXT))),
        ("tuple<int, frozen<set<text>>>", TupleType((INT, SetType(TEXT)))),
        ("vector<float, 3>", VectorType(FLOAT, 3)),
        ("vector<vector<float, 2>, 2>", VectorType(VectorType(FLOAT, 2), 2)),
        ("frozen<address>", ADDRESS),
        ("list<frozen<address>>", ListType(ADDRESS, multi_cell=True)),
        (f"'{COMPOSITE.class_name}'", COMPOSITE),
        ("empty", CustomType("org.apache.cassandra.db.marshal.EmptyType")),
        (" LIST < Int > ", ListType(INT, multi_cell=True)),
    ],
)
def test_texts_of_the_schema(text: str, expected: CqlType) -> None:
    """The texts of `system_schema.columns` give their types."""
    assert parse_type(text, "ks", USER_TYPES) == expected


def test_user_type_is_multi_cell_at_the_top() -> None:
    """A user type outside of `frozen<…>` has one cell per field."""
    parsed = parse_type("address", "ks", USER_TYPES)
    assert parsed.multi_cell
    assert parsed == UserType("ks", "address", ("street", "Zip"), (TEXT, INT), multi_cell=True)


def test_user_types_are_resolved_recursively() -> None:
    """A quoted user type holds others, all of them single values whatever the text of the field says."""
    expected = UserType("ks", "MyType", ("home", "tags"), (ADDRESS, ListType(TEXT)))
    assert parse_type('frozen<"MyType">', "ks", USER_TYPES) == expected
    loose = parse_type("looser", "ks", USER_TYPES)
    assert isinstance(loose, UserType)
    assert loose.field_types == (ADDRESS,)


def test_user_type_called_like_a_scalar() -> None:
    """A quoted name is a user type even when a scalar has the same."""
    assert parse_type('frozen<"text">', "ks", {"text": (["f"], ["text"])}) == UserType("ks", "text", ("f",), (TEXT,))


@given(types())
def test_cql_parses_back(cql_type: CqlType) -> None:
    """What a type prints is read as the same type."""
    user_types = {user.name: (user.field_names, [field.cql for field in user.field_types]) for user in _users(cql_type)}
    assume(len({*_users(cql_type)}) == len(user_types))
    assert parse_type(cql_type.cql, "ks", user_types) == cql_type


def _users(cql_type: CqlType) -> list[UserType]:
    match cql_type:
        case UserType():
            return [cql_type, *[user for field in cql_type.field_types for user in _users(field)]]
        case ListType(element) | SetType(element) | VectorType(element):
            return _users(element)
        case MapType(key, value):
            return _users(key) + _users(value)
        case TupleType(elements):
            return [user for element in elements for user in _users(element)]
    return []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nowhere", "user type 'nowhere' expected in keyspace 'ks', found in none of its types"),
        ("", "expected a type, found its end"),
        ("list<int", "expected '>', found its end"),
        ("list<int>>", "expected its end, found '>'"),
        ("map<int>", "expected ',', found '>'"),
        ("<int>", "expected a type, found '<'"),
        ("bag<int>", "expected frozen, list, set, map, tuple or vector before '<', found 'bag'"),
        ("vector<int, none>", "expected a positive dimension, found 'none'"),
        ("vector<int, 0>", "expected a positive dimension, found '0'"),
        ("int; drop", "expected a token at character 3, found ';'"),
        ("'unclosed", 'expected a token at character 0, found "\'"'),
    ],
)
def test_no_type(text: str, problem: str) -> None:
    """A text that is no type is refused with what was expected and what was found."""
    with pytest.raises(SchemaError) as caught:
        parse_type(text, "ks", USER_TYPES)
    assert str(caught.value) == f"type {text!r} of keyspace 'ks': {problem}"


def test_every_scalar() -> None:
    """Every scalar name is its own type."""
    for name in ("ascii", "counter", "duration", "timeuuid", "tinyint"):
        assert parse_type(name, "ks", {}) == Scalar(name)
