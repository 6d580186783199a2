from __future__ import annotations

import struct

import pytest

from cdc_pipeline.types import CqlType, ListType, MapType, Scalar, SetType, TupleType, UserType, VectorType, to_json
from cdc_pipeline_tests.types.values import (
    COMPOSITE,
    FLOAT,
    INT,
    SCALARS,
    TEXT,
    counted,
    decimal_bytes,
    fields,
    int_bytes,
    pairs,
    vector,
)

BLOB, DOUBLE, BOOLEAN, DECIMAL = (Scalar(name) for name in ("blob", "double", "boolean", "decimal"))
INTS = ListType(INT)
MONEY = UserType("ks", "money", ("amount", "currency"), (DECIMAL, TEXT))
HOME = UserType("ks", "home", ("street", "Zip", "tags"), (TEXT, INT, SetType(TEXT)))
PERSON = UserType("ks", "person", ("name", "home", "f"), (TEXT, HOME, FLOAT))
NAN = bytes.fromhex("7fc00000")


def doubles(*numbers: float) -> list[bytes]:
    return [struct.pack(">d", number) for number in numbers]


@pytest.mark.parametrize(
    ("cql_type", "value", "expected"),
    [
        (INTS, counted(int_bytes(1), int_bytes(2)), "[1, 2]"),
        (ListType(INTS), counted(counted(int_bytes(1)), counted(int_bytes(836))), "[[1], [836]]"),
        (SetType(TEXT), counted(b"red", b"blue"), '["red", "blue"]'),
        (SetType(TEXT), counted(), "[]"),
        (ListType(BLOB), counted(b"", b"\xff"), '["0x", "0xff"]'),
        (MapType(INT, TEXT), pairs(int_bytes(-2), b"b", int_bytes(1), b"a"), '{"-2": "b", "1": "a"}'),
        (MapType(BOOLEAN, DOUBLE), pairs(b"\x01", *doubles(-0.0)), '{"true": -0.0}'),
        (
            MapType(TupleType((INT, INT)), DOUBLE),
            pairs(fields(int_bytes(-1), int_bytes(894)), *doubles(0.1)),
            '{"[-1, 894]": 0.1}',
        ),
        (
            MapType(Scalar("timestamp"), BLOB),
            pairs(bytes.fromhex("0000013905e8aa3c"), b""),
            '{"2012-08-08 11:04:57.660Z": "0x"}',
        ),
        (MapType(ListType(TEXT), INT), pairs(counted(b"a"), int_bytes(1)), '{"[\\"a\\"]": 1}'),
        (
            TupleType((TEXT, ListType(DOUBLE))),
            fields(b"shadow", counted(*doubles(3.0))),
            '["shadow", [3.0]]',
        ),
        (TupleType((INT, TEXT)), fields(int_bytes(846), None), "[846, null]"),
        (MONEY, fields(decimal_bytes(1, -3), None), '{"amount": 1E+3, "currency": null}'),
        (MONEY, fields(decimal_bytes(1, -3)), '{"amount": 1E+3, "currency": null}'),
        (
            PERSON,
            fields(b"n", fields(b"s", int_bytes(5), counted(b"a", b"b")), bytes.fromhex("7f7fffff")),
            '{"name": "n", "home": {"street": "s", "\\"Zip\\"": 5, "tags": ["a", "b"]}, "f": 3.4028235E38}',
        ),
        (VectorType(FLOAT, 2), bytes.fromhex("40000000ff800000"), "[2.0, null]"),
        (VectorType(TEXT, 2), vector(TEXT, b"", b"$1 %s {0}"), '["", "$1 %s {0}"]'),
        (
            VectorType(VectorType(FLOAT, 2), 2),
            struct.pack(">4f", -49.0, 22.0, 40.0, 0.1),
            "[[-49.0, 22.0], [40.0, 0.1]]",
        ),
        (ListType(FLOAT), counted(NAN), "[null]"),
    ],
)
def test_composed_values(cql_type: CqlType, value: bytes, expected: str) -> None:
    """Composed values print as in the recordings, a space after every comma and colon."""
    assert to_json(cql_type)(value) == expected


@pytest.mark.parametrize(
    ("cql_type", "value", "expected"),
    [
        (INTS, counted(int_bytes(1), None), "[1, null]"),
        (SetType(TEXT), counted(None), "[null]"),
        (MapType(TEXT, INT), pairs(b"k", None), '{"k": null}'),
        (MapType(TEXT, INT), pairs(None, int_bytes(1)), '{"null": 1}'),
        (TupleType((INT, TEXT)), fields(int_bytes(1)), "[1, null]"),
        (ListType(TupleType((INT, TEXT))), counted(fields(int_bytes(1))), "[[1, null]]"),
        (ListType(BOOLEAN), counted(b"", b"\x01"), "[null, true]"),
        (ListType(Scalar("tinyint")), counted(b""), "[null]"),
        (ListType(Scalar("date")), counted(b""), "[null]"),
        (ListType(INTS), counted(b""), "[null]"),
        (ListType(TupleType((INT,))), counted(b""), "[null]"),
        (COMPOSITE, b"\x01\x02", '"0x0102"'),
        (ListType(COMPOSITE), counted(b"\x01\x02"), '["0x0102"]'),
    ],
)
def test_refusals(cql_type: CqlType, value: bytes, expected: str) -> None:
    """Where Cassandra refuses, its whole value is null; a destination's is null in the one place."""
    assert to_json(cql_type)(value) == "null"
    assert to_json(cql_type, "destination")(value) == expected


@pytest.mark.parametrize(
    "name",
    sorted({scalar.name for scalar in SCALARS} - {"text", "ascii", "blob", "boolean", "tinyint", "date", "time"}),
)
def test_nested_empty(name: str) -> None:
    """An empty value inside another is an empty string for Cassandra, null for a destination."""
    cql_type = ListType(Scalar(name))
    assert to_json(cql_type)(counted(b"")) == '[""]'
    assert to_json(cql_type, "destination")(counted(b"")) == "[null]"


@pytest.mark.parametrize(("name", "expected"), [("text", '[""]'), ("ascii", '[""]'), ("blob", '["0x"]')])
def test_nested_empty_texts(name: str, expected: str) -> None:
    """An empty text, ascii or blob inside another value is one in both forms."""
    cql_type = ListType(Scalar(name))
    assert to_json(cql_type)(counted(b"")) == expected
    assert to_json(cql_type, "destination")(counted(b"")) == expected


def test_nested_empty_time() -> None:
    """Cassandra prints an empty time inside another value as the string null."""
    cql_type = ListType(Scalar("time"))
    assert to_json(cql_type)(counted(b"")) == '["null"]'
    assert to_json(cql_type, "destination")(counted(b"")) == "[null]"


def test_nested_empty_user_type() -> None:
    """Zero bytes are a user type without fields for Cassandra, null for a destination."""
    cql_type = ListType(MONEY)
    assert to_json(cql_type)(counted(b"")) == '[{"amount": null, "currency": null}]'
    assert to_json(cql_type, "destination")(counted(b"")) == "[null]"


def test_losses_inside() -> None:
    """A destination gets NaN as a string inside other values and as a key."""
    assert to_json(ListType(FLOAT), "destination")(counted(NAN)) == '["NaN"]'
    assert to_json(MapType(FLOAT, INT), "destination")(pairs(NAN, int_bytes(1))) == '{"NaN": 1}'
    assert to_json(MapType(FLOAT, INT))(pairs(NAN, int_bytes(1))) == '{"null": 1}'


def test_field_names() -> None:
    """A field name is quoted once more only for its upper-case letters."""
    cql_type = UserType("ks", "odd", ("a b", 'q"', "Ä"), (INT, INT, INT))
    assert to_json(cql_type)(fields(None)) == '{"a b": null, "q\\"": null, "\\"Ä\\"": null}'


def test_malformed_inside() -> None:
    """A malformed value inside another is an error, not a refusal."""
    with pytest.raises(ValueError, match=r"^int: expected 4 bytes, found 3$"):
        to_json(ListType(INT))(counted(b"\x00\x00\x00"))
