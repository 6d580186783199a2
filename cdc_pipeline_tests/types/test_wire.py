from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import (
    CqlType,
    ListType,
    MapType,
    Scalar,
    SetType,
    TupleType,
    UserType,
    VectorType,
    split_collection,
)
from cdc_pipeline.types.wire import read_signed_vint, read_unsigned_vint
from cdc_pipeline_tests.types.values import (
    FLOAT,
    INT,
    TEXT,
    counted,
    fields,
    int_bytes,
    pairs,
    parts,
    present,
    signed_vint_bytes,
    types,
    vint_bytes,
)

PERSON = UserType("ks", "person", ("name", "age"), (TEXT, INT))


@pytest.mark.parametrize(
    ("serialized", "number"),
    [
        ("00", 0),
        ("7f", 127),
        ("8080", 128),
        ("bfff", 16383),
        ("c04000", 16384),
        ("dfffff", 2**21 - 1),
        ("fe02000000000000", 2**49),
        ("ff0100000000000000", 2**56),
        ("ff8000000000000000", 2**63),
    ],
)
def test_unsigned_vints(serialized: str, number: int) -> None:
    """The number of leading 1 bits is the number of bytes that follow."""
    value = bytes.fromhex(serialized)
    assert read_unsigned_vint(b"\xaa" + value + b"\xaa", 1) == (number, len(value))


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_vints(number: int) -> None:
    """A signed vint is the zig-zag of its number."""
    value = signed_vint_bytes(number)
    assert read_signed_vint(value, 0) == (number, len(value))


@given(st.integers(0, 2**64 - 1))
def test_cut_vints(number: int) -> None:
    """A vint that ends too early is refused."""
    value = vint_bytes(number)
    with pytest.raises(ValueError, match="vint: expected"):
        read_unsigned_vint(value[:-1], 0)


@pytest.mark.parametrize(
    ("cql_type", "value", "expected"),
    [
        (ListType(TEXT), counted(b"a", b"", None), [b"a", b"", None]),
        (SetType(INT), counted(), []),
        (MapType(TEXT, INT), pairs(b"k", int_bytes(1), b"l", int_bytes(2)), [b"k", int_bytes(1), b"l", int_bytes(2)]),
        (TupleType((INT, TEXT)), fields(int_bytes(1)), [int_bytes(1), None]),
        (PERSON, fields(None, int_bytes(3)), [None, int_bytes(3)]),
        (PERSON, b"", [None, None]),
        (VectorType(FLOAT, 2), int_bytes(1) + int_bytes(2), [int_bytes(1), int_bytes(2)]),
        (VectorType(TEXT, 2), b"\x00\x01a", [b"", b"a"]),
        (VectorType(TEXT, 1), b"\x80\xc8" + b"x" * 200, [b"x" * 200]),
    ],
)
def test_parts(cql_type: CqlType, value: bytes, expected: list[bytes | None]) -> None:
    """A composed value is split into its parts; null and missing fields are None."""
    assert split_collection(cql_type, value) == expected


@given(st.data())
def test_parts_of_any_type(data: st.DataObject) -> None:
    """The parts of any composed value are those that a plain reader finds."""
    cql_type = data.draw(types().filter(lambda drawn: not isinstance(drawn, Scalar) and drawn.fixed_length != 16))
    value = data.draw(present(cql_type))
    assert split_collection(cql_type, value) == [part for _, part in parts(cql_type, value)]


@pytest.mark.parametrize(
    ("cql_type", "value", "problem"),
    [
        (ListType(INT), b"", "length: expected 4 bytes at offset 0, found 0"),
        (ListType(INT), b"\x00\x00\x00\x02", "length: expected 4 bytes at offset 4, found 0"),
        (ListType(INT), int_bytes(-1), "collection: expected a count of 0 or more, found a negative one"),
        (SetType(INT), int_bytes(1) + int_bytes(4) + b"\x00", "item: expected 4 bytes at offset 8, found 1"),
        (ListType(INT), counted() + b"\x00", "value: expected its end at offset 4, found 1 more bytes"),
        (MapType(INT, INT), counted(int_bytes(1)), "length: expected 4 bytes at offset 12, found 0"),
        (TupleType((INT,)), fields(None, None), "value: expected its end at offset 4, found 4 more bytes"),
        (TupleType((INT,)), b"\x00\x00", "length: expected 4 bytes at offset 0, found 2"),
        (VectorType(FLOAT, 2), bytes(7), "vector: expected 8 bytes, found 7"),
        (VectorType(TEXT, 2), b"\x01a", "vint: expected a byte at offset 2, found the end"),
        (VectorType(TEXT, 1), b"\x05a", "item: expected 5 bytes at offset 1, found 1"),
        (VectorType(TEXT, 1), b"\x01aa", "value: expected its end at offset 2, found 1 more bytes"),
    ],
)
def test_malformed(cql_type: CqlType, value: bytes, problem: str) -> None:
    """Bytes that are too few or too many are refused with the place."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared below
        split_collection(cql_type, value)
    assert str(caught.value) == problem


def test_no_parts() -> None:
    """A scalar cannot be split."""
    with pytest.raises(TypeError, match="int has no parts"):
        split_collection(INT, int_bytes(1))
