"""Values for tests: how they are serialized, how Hypothesis draws them, and how Cassandra compares them.

`rank` is the reference for every sort key: a plain Python object per value, compared by Python.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

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

INT, TEXT, FLOAT = Scalar("int"), Scalar("text"), Scalar("float")
LEXICAL_UUID = CustomType("org.apache.cassandra.db.marshal.LexicalUUIDType")
COMPOSITE = CustomType("org.apache.cassandra.db.marshal.CompositeType(org.apache.cassandra.db.marshal.UTF8Type)")


def int_bytes(number: int) -> bytes:
    """4 bytes, signed."""
    return struct.pack(">i", number)


def varint_bytes(number: int) -> bytes:
    """Two's complement in the fewest bytes."""
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)


def decimal_bytes(unscaled: int, scale: int) -> bytes:
    """A 4-byte scale, then a varint."""
    return int_bytes(scale) + varint_bytes(unscaled)


def vint_bytes(number: int) -> bytes:
    """An unsigned vint: one 1 bit for every byte after the first."""
    extra = 0 if number < 128 else min(8, (number.bit_length() - 1) // 7)
    marked = number | (0xFF00 >> extra & 0xFF) << 8 * extra
    return marked.to_bytes(extra + 1, "big")


def signed_vint_bytes(number: int) -> bytes:
    """The zig-zag of a number as an unsigned vint."""
    return vint_bytes(number * 2 if number >= 0 else -number * 2 - 1)


def fields(*items: bytes | None) -> bytes:
    """A tuple or user type."""
    return b"".join(int_bytes(-1) if item is None else int_bytes(len(item)) + item for item in items)


def counted(*items: bytes | None) -> bytes:
    """A list or set."""
    return int_bytes(len(items)) + fields(*items)


def pairs(*items: bytes | None) -> bytes:
    """A map of alternating keys and values."""
    return int_bytes(len(items) // 2) + fields(*items)


def vector(element: CqlType, *items: bytes) -> bytes:
    """A vector: bare elements of a fixed length, else each behind its vint length."""
    if element.fixed_length is not None:
        return b"".join(items)
    return b"".join(vint_bytes(len(item)) + item for item in items)


def _version_1(drawn: bytes) -> bytes:
    return drawn[:6] + bytes(((drawn[6] & 0x0F) | 0x10,)) + drawn[7:]


def _fixed(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length) | st.sampled_from(
        [bytes(length), b"\xff" * length, b"\x80" + bytes(length - 1), b"\x7f" + b"\xff" * (length - 1)]
    )


_NEAR_ZERO_BYTES = st.lists(st.sampled_from([b"\x00", b"\x01", b"\x7f", b"\xfe", b"\xff"]), max_size=4).map(b"".join)
_FLOATS32 = st.floats(width=32).map(lambda number: struct.pack(">f", number))
_FLOATS64 = st.floats().map(lambda number: struct.pack(">d", number))
_DURATIONS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=3, max_size=3).map(
    lambda parts: b"".join(map(signed_vint_bytes, parts))
)

_SCALARS: dict[str, st.SearchStrategy[bytes]] = {
    "text": (st.text(max_size=4) | st.text("\x00\x01\x7f", max_size=3)).map(lambda text: text.encode()),
    "ascii": st.text(st.characters(max_codepoint=127), max_size=4).map(lambda text: text.encode()),
    "blob": st.binary(max_size=4) | _NEAR_ZERO_BYTES,
    "boolean": _fixed(1),
    "tinyint": _fixed(1),
    "smallint": _fixed(2),
    "int": _fixed(4),
    "bigint": _fixed(8),
    "varint": (st.integers() | st.integers(-300, 300)).map(varint_bytes),
    "decimal": st.builds(decimal_bytes, st.integers() | st.integers(-200, 200), st.integers(-4, 4)),
    "float": _FLOATS32 | st.sampled_from([b"\xff\xc0\x00\x01", b"\x80\x00\x00\x00", bytes(4)]),
    "double": _FLOATS64 | st.sampled_from([b"\xff\xf8" + bytes(5) + b"\x01", b"\x80" + bytes(7), bytes(8)]),
    "timestamp": _fixed(8),
    "date": _fixed(4),
    "time": st.integers(0, 86_400_000_000_000 - 1).map(lambda number: struct.pack(">q", number)),
    "duration": _DURATIONS,
    "uuid": _fixed(16) | _fixed(16).map(_version_1),
    "timeuuid": _fixed(16).map(_version_1),
    "inet": _fixed(4) | _fixed(16),
}
SCALARS = [Scalar(name) for name in _SCALARS]


def present(cql_type: CqlType) -> st.SearchStrategy[bytes]:
    """Well-formed values; those of text, ascii and blob may be empty."""
    match cql_type:
        case Scalar(name):
            return _SCALARS[name]
        case ListType(element) | SetType(element):
            return st.lists(anything(element), max_size=3).map(lambda items: counted(*items))
        case MapType(key, value):
            entries = st.lists(st.tuples(anything(key), anything(value)), max_size=2)
            return entries.map(lambda drawn: pairs(*[item for entry in drawn for item in entry]))
        case TupleType(elements) | UserType(field_types=elements):
            full = st.tuples(*(st.none() | anything(element) for element in elements))
            return st.builds(lambda items, kept: fields(*items[:kept]), full, st.integers(1, len(elements)))
        case VectorType(element, dimension):
            return st.lists(present(element), min_size=dimension, max_size=dimension).map(
                lambda items: vector(element, *items)
            )
    return _fixed(16)


def anything(cql_type: CqlType) -> st.SearchStrategy[bytes]:
    """Well-formed values and now and then an empty one."""
    return present(cql_type) | st.just(b"")


def types() -> st.SearchStrategy[CqlType]:
    """Types nested up to some depth; custom ones that hold a UUID."""
    leaves = st.sampled_from([*SCALARS, LEXICAL_UUID])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(ListType),
            inner.map(SetType),
            st.builds(MapType, inner, inner),
            st.lists(inner, min_size=1, max_size=3).map(lambda elements: TupleType(tuple(elements))),
            st.lists(inner, min_size=1, max_size=2).map(_user_type),
            st.builds(VectorType, inner, st.integers(1, 3)),
        ),
        max_leaves=4,
    )


def _user_type(elements: Sequence[CqlType]) -> UserType:
    return UserType("ks", "drawn", tuple(f"f{at}" for at in range(len(elements))), tuple(elements))


def rank(cql_type: CqlType, value: bytes | None) -> Any:
    """An object that Python sorts as Cassandra sorts the value: null, then empty, then the rest."""
    if value is None:
        return (0,)
    return (2, _rank(cql_type, value)) if value else (1,)


def _rank(cql_type: CqlType, value: bytes) -> Any:
    match cql_type:
        case Scalar("text"):
            return [ord(character) for character in value.decode()]
        case Scalar("boolean"):
            return value != b"\x00"
        case Scalar("tinyint" | "smallint" | "int" | "bigint" | "varint" | "timestamp"):
            return int.from_bytes(value, "big", signed=True)
        case Scalar("date" | "time"):
            return int.from_bytes(value, "big")
        case Scalar("float" | "double"):
            return _rank_float(struct.unpack(">f" if len(value) == 4 else ">d", value)[0])
        case Scalar("decimal"):
            scale = int.from_bytes(value[:4], "big", signed=True)
            return Fraction(int.from_bytes(value[4:], "big", signed=True)) / Fraction(10) ** scale
        case Scalar("timeuuid"):
            return _uuid_time(value), struct.unpack(">8b", value[8:])
        case Scalar("uuid"):
            version = value[6] >> 4
            return version, (_uuid_time(value), value) if version == 1 else (0, value)
        case Scalar():
            return value
        case CustomType():
            return struct.unpack(">qq", value)
    return [rank(part_type, part) for part_type, part in parts(cql_type, value)]


def _rank_float(number: float) -> tuple[bool, float, float]:
    if math.isnan(number):
        return (True, 0.0, 0.0)
    return (False, number, math.copysign(1.0, number))


def _uuid_time(value: bytes) -> int:
    low, middle, high = (int.from_bytes(value[start:end], "big") for start, end in ((0, 4), (4, 6), (6, 8)))
    return (high & 0x0FFF) << 48 | middle << 32 | low


def parts(cql_type: CqlType, value: bytes) -> list[tuple[CqlType, bytes | None]]:
    """The parts of a composed value, each with its type, missing fields filled up with null."""
    match cql_type:
        case ListType(element) | SetType(element):
            return [(element, item) for item in _items(value[4:])]
        case MapType(key, entry):
            return [((key, entry)[at % 2], item) for at, item in enumerate(_items(value[4:]))]
        case TupleType(elements) | UserType(field_types=elements):
            items = _items(value)
            return list(zip(elements, items + [None] * (len(elements) - len(items)), strict=True))
        case VectorType(element, dimension):
            return [(element, item) for item in _vector_items(element, dimension, value)]
    raise AssertionError(cql_type)


def _items(value: bytes) -> list[bytes | None]:
    items: list[bytes | None] = []
    while value:
        length = int.from_bytes(value[:4], "big", signed=True)
        items.append(None if length < 0 else value[4 : 4 + length])
        value = value[4 + max(length, 0) :]
    return items


def _vector_items(element: CqlType, dimension: int, value: bytes) -> list[bytes]:
    if element.fixed_length is not None:
        return [value[at * element.fixed_length :][: element.fixed_length] for at in range(dimension)]
    items = []
    for _ in range(dimension):
        length, size = (value[0], 1) if value[0] < 128 else (int.from_bytes(value[:2], "big") & 0x3FFF, 2)
        items.append(value[size : size + length])
        value = value[size + length :]
    return items
