"""Bytes that sort as Cassandra sorts: of one value, of a clustering prefix, of the bounds of a range.

A component of a clustering is a lead byte and the value's key:

| | ASC | DESC |
|---|---|---|
| null (compact tables only) | 40 | 40: null is first in both (`ClusteringComparator`) |
| empty | 41 | BE |
| present | 42, key, terminator | BD, all of it inverted |

Keys that are not prefix-free are escaped (00 as 00 FF) and end with 00 01, so FF never follows a component and closes
a prefix from above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from cdc_pipeline.types.model import (
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
from cdc_pipeline.types.sortkeys import CUSTOM_KEYS, INVERTED, SCALAR_KEYS, UNBOUNDED, Encoder, raw
from cdc_pipeline.types.wire import split_collection

Component = Callable[[bytes | None], bytes]
ClusteringKey = Callable[[Sequence[bytes | None]], bytes]

_NULL, _EMPTY, _PRESENT = b"\x40", b"\x41", b"\x42"
_EMPTY_DESCENDING = _EMPTY.translate(INVERTED)
_END_OF_SEQUENCE = b"\x00"  # before every lead: the shorter of two that begin alike is first

LEAST_ROW = b"\x01"
ABOVE_ALL = b"\xff"


def sort_key(cql_type: CqlType) -> Encoder:
    """A function from one serialized value to bytes that sort, unsigned, as Cassandra sorts that type ascending.

    Zero bytes give b"", before all others; equal keys are equal values (1.0 and 1.00). The function raises ValueError
    for bytes that are none of the type's.
    """
    encode, _ = _encoder(cql_type)
    return lambda value: encode(value) if value else b""


def clustering_key(types: Sequence[CqlType], descending: Sequence[bool]) -> ClusteringKey:
    """A function from the leading components of a clustering (None is null, b"" empty) to bytes in storage order.

    The rows that begin with prefix P have keys in [key(P), key(P) + FF); no component gives b"", and every other key
    begins with a byte from 01 to FE. The function raises ValueError for malformed bytes and for too many components.
    """
    components = [
        _descending(_component(cql_type)) if down else _component(cql_type)
        for cql_type, down in zip(types, descending, strict=True)
    ]
    count = len(components)

    def key(values: Sequence[bytes | None]) -> bytes:
        if len(values) > count:
            raise ValueError(f"clustering: expected at most {count} components, found {len(values)}")
        return b"".join([component(value) for component, value in zip(components, values, strict=False)])

    return key


def range_bounds(
    key: ClusteringKey,
    start_values: Sequence[bytes | None],
    start_inclusive: bool,
    end_values: Sequence[bytes | None],
    end_inclusive: bool,
) -> tuple[bytes, bytes]:
    """(lo, hi) of a range tombstone, its bounds in storage order: a row is inside when lo <= key(row) < hi.

    A bound covers every row with its prefix; one without values is open, and leaves out the static row (b"").
    """
    lo = _edge(key(start_values), beyond=not start_inclusive) if start_values else LEAST_ROW
    hi = _edge(key(end_values), beyond=end_inclusive) if end_values else ABOVE_ALL
    return lo, hi


def _edge(prefix: bytes, *, beyond: bool) -> bytes:
    return prefix + ABOVE_ALL if beyond else prefix


@cache
def _encoder(cql_type: CqlType) -> tuple[Encoder, bool]:
    """The key of a value that is not empty, and whether these keys are prefix-free."""
    match cql_type:
        case Scalar(name):
            return SCALAR_KEYS[name], name not in UNBOUNDED
        case CustomType():
            encode = CUSTOM_KEYS.get(cql_type.short_name)
            return (encode, True) if encode else (raw, False)
        case ListType(element) | SetType(element):
            return _repeated(cql_type, [_component(element)]), True
        case MapType(key, value):
            return _repeated(cql_type, [_component(key), _component(value)]), True
        case TupleType(elements) | UserType(field_types=elements):
            return _fixed(cql_type, [_component(element) for element in elements]), True
        case VectorType(element, dimension):
            return _fixed(cql_type, [_component(element)] * dimension), True
    raise TypeError(f"{type(cql_type).__name__} is no CQL type")


@cache
def _component(cql_type: CqlType) -> Component:
    """One value behind its lead byte, prefix-free."""
    encode, prefix_free = _encoder(cql_type)
    if not prefix_free:
        encode = _escaped(encode)

    def component(value: bytes | None) -> bytes:
        if value:
            return _PRESENT + encode(value)
        return _NULL if value is None else _EMPTY

    return component


def _escaped(encode: Encoder) -> Encoder:
    return lambda value: encode(value).replace(b"\x00", b"\x00\xff") + b"\x00\x01"


def _descending(ascending: Component) -> Component:
    def component(value: bytes | None) -> bytes:
        return _NULL if value is None else ascending(value).translate(INVERTED)

    return component


def _repeated(cql_type: CqlType, components: Sequence[Component]) -> Encoder:
    """Any number of elements or entries, element by element, the shorter first."""
    period = len(components)

    def encode(value: bytes) -> bytes:
        items = split_collection(cql_type, value)
        return b"".join([components[at % period](item) for at, item in enumerate(items)]) + _END_OF_SEQUENCE

    return encode


def _fixed(cql_type: CqlType, components: Sequence[Component]) -> Encoder:
    """A given number of elements or fields; what is missing at the end is null."""

    def encode(value: bytes) -> bytes:
        items = split_collection(cql_type, value)
        return b"".join([component(item) for component, item in zip(components, items, strict=True)])

    return encode
