"""The smallest pieces of serialized values: lengths, variable-length integers and the items of composed values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct, error

from cdc_pipeline.types.model import CqlType, ListType, MapType, SetType, TupleType, UserType, VectorType

Splitter = Callable[[bytes], list[bytes | None]]

_INT = Struct(">i")


def wrong_length(what: str, expected: int | str, value: bytes) -> ValueError:
    """The error for a value of the wrong number of bytes; it never holds the value."""
    return ValueError(f"{what}: expected {expected} bytes, found {len(value)}")


def read_unsigned_vint(buffer: bytes, offset: int) -> tuple[int, int]:
    """One to nine bytes: as many leading 1 bits as bytes follow the first (`VIntCoding`) -> (value, size)."""
    if offset >= len(buffer):
        raise ValueError(f"vint: expected a byte at offset {offset}, found the end")
    first = buffer[offset]
    if first < 0x80:
        return first, 1
    extra = 8 - (first ^ 0xFF).bit_length()
    end = offset + 1 + extra
    if end > len(buffer):
        raise ValueError(f"vint: expected {extra} more bytes, found {len(buffer) - offset - 1}")
    top = first & (0xFF >> extra + 1)
    return top << 8 * extra | int.from_bytes(buffer[offset + 1 : end], "big"), 1 + extra


def read_signed_vint(buffer: bytes, offset: int) -> tuple[int, int]:
    """An unsigned vint unfolded by zig-zag (0, 1, 2, 3 are 0, -1, 1, -2) -> (value, size)."""
    folded, size = read_unsigned_vint(buffer, offset)
    return (folded >> 1) ^ -(folded & 1), size


def split_collection(cql_type: CqlType, value: bytes) -> list[bytes | None]:
    """The parts of one serialized collection, tuple, user type or vector; None is null.

    List, set and vector give their elements, a map its keys and values alternating, tuple and user type all of their
    fields (missing trailing ones are None). Raises ValueError for malformed bytes, TypeError for a type without parts.
    """
    parts = splitter(cql_type)(value)
    if isinstance(cql_type, TupleType | UserType):
        parts.extend([None] * (_field_count(cql_type) - len(parts)))
    return parts


@cache
def splitter(cql_type: CqlType) -> Splitter:
    """Like split_collection, but compiled for one type and without what a short tuple or user type lacks."""
    match cql_type:
        case ListType() | SetType():
            return lambda value: _counted_items(value, 1)
        case MapType():
            return lambda value: _counted_items(value, 2)
        case TupleType() | UserType():
            count = _field_count(cql_type)
            return lambda value: _fields(value, count)
        case VectorType(element, dimension):
            length = element.fixed_length
            if length is None:
                return lambda value: _vint_elements(value, dimension)
            return lambda value: _bare_elements(value, dimension, length)
    raise TypeError(f"{cql_type.cql} has no parts")


def _field_count(cql_type: TupleType | UserType) -> int:
    return len(cql_type.elements if isinstance(cql_type, TupleType) else cql_type.field_types)


def _counted_items(value: bytes, items_per_entry: int) -> list[bytes | None]:
    """A 4-byte count of entries, then items."""
    count, offset = _read_int(value, 0), 4
    if count < 0:
        raise ValueError("collection: expected a count of 0 or more, found a negative one")
    items: list[bytes | None] = []
    for _ in range(count * items_per_entry):
        item, offset = _read_item(value, offset)
        items.append(item)
    _require_end(value, offset)
    return items


def _fields(value: bytes, count: int) -> list[bytes | None]:
    """Items until the bytes or the fields end; trailing fields may be missing."""
    items: list[bytes | None] = []
    offset = 0
    while offset < len(value) and len(items) < count:
        item, offset = _read_item(value, offset)
        items.append(item)
    _require_end(value, offset)
    return items


def _bare_elements(value: bytes, dimension: int, length: int) -> list[bytes | None]:
    """Elements back to back."""
    if len(value) != dimension * length:
        raise wrong_length("vector", dimension * length, value)
    return [value[start : start + length] for start in range(0, len(value), length)]


def _vint_elements(value: bytes, dimension: int) -> list[bytes | None]:
    """Per element an unsigned vint, its length, and its bytes."""
    items: list[bytes | None] = []
    offset = 0
    for _ in range(dimension):
        length, size = read_unsigned_vint(value, offset)
        offset += size
        items.append(_slice(value, offset, length))
        offset += length
    _require_end(value, offset)
    return items


def _read_item(value: bytes, offset: int) -> tuple[bytes | None, int]:
    """A 4-byte length (negative for null), then as many bytes -> (item, offset after it)."""
    length = _read_int(value, offset)
    offset += 4
    if length < 0:
        return None, offset
    return _slice(value, offset, length), offset + length


def _read_int(value: bytes, offset: int) -> int:
    try:
        number: int = _INT.unpack_from(value, offset)[0]
    except error:
        raise ValueError(f"length: expected 4 bytes at offset {offset}, found {len(value) - offset}") from None
    return number


def _slice(value: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(value):
        raise ValueError(f"item: expected {length} bytes at offset {offset}, found {len(value) - offset}")
    return value[offset : offset + length]


def _require_end(value: bytes, offset: int) -> None:
    if offset != len(value):
        raise ValueError(f"value: expected its end at offset {offset}, found {len(value) - offset} more bytes")
