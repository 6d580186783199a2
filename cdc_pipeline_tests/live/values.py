"""Serialized values of any CQL type from a seed, with a generous share of awkward ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from cdc_pipeline.types import CqlType, ListType, MapType, Scalar, SetType, TupleType, UserType, VectorType
from cdc_pipeline_tests.types.values import (
    counted,
    decimal_bytes,
    fields,
    int_bytes,
    pairs,
    rank,
    signed_vint_bytes,
    varint_bytes,
    vector,
)

Make = Callable[[random.Random], bytes]

_TEXTS = (
    *("", " ", 'it\'s "quoted"', "a line\nand\r\n\ta tab", "back\\slash \\n \\u0041", "naïve", "日本語", "👩‍👧 🇺🇳"),
    *(
        "e\u0301",
        "\u202egnp",
        "NULL",
        "\\N",
        '{"a": [1]}',
        "a,b;c|d",
        "$1 %s {0}",
        " end ",
        "\u0001\u007f",
        "\ufeffbom",
    ),
)
_WORDS = ("amber", "river", "stone", "cloud", "garden", "window", "paper", "silver", "candle", "forest", "engine")
_EMPTY_ALLOWED = tuple(
    Scalar(name)
    for name in ("bigint", "boolean", "decimal", "double", "float", "inet", "int", "timestamp", "timeuuid", "uuid")
)


def _integer(size: int) -> Make:
    top = 1 << 8 * size - 1

    def make(rng: random.Random) -> bytes:
        edges = [-top, top - 1, 0, -1, 1]
        number = rng.choice(edges) if rng.random() < 0.2 else rng.randint(-min(top, 1000), min(top - 1, 1000))
        return number.to_bytes(size, "big", signed=True)

    return make


def _text(rng: random.Random) -> bytes:
    chance = rng.random()
    if chance < 0.25:
        return rng.choice(_TEXTS).encode()
    return " ".join(rng.choices(_WORDS, k=rng.randint(200, 400) if chance < 0.27 else rng.randint(1, 4))).encode()


def _float(form: str, top: float, least: float) -> Make:
    def make(rng: random.Random) -> bytes:
        edges = [0.0, -0.0, top, -top, least, float("nan"), float("inf"), float("-inf"), 0.1]
        number = (
            rng.choice(edges) if rng.random() < 0.2 else rng.choice([rng.uniform(-1e3, 1e3), rng.gauss(0, 1) * 1e20])
        )
        return struct.pack(form, number)

    return make


def _varint(rng: random.Random) -> bytes:
    edges = [0, -1, 127, 128, -128, -129, 255, 256, 2**63, -(2**63) - 1, 2**300, 10**40]
    return varint_bytes(rng.choice(edges) if rng.random() < 0.3 else rng.randint(-(10**6), 10**6))


def _decimal(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return decimal_bytes(*rng.choice([(0, 2), (-1, 27), (1, -50), (10**59 + 7, 30), (-1, 40), (10**21 - 1, 2)]))
    return decimal_bytes(rng.randint(1, 10**9) * 10 + 3, rng.randint(0, 6))


def _duration(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        parts = rng.choice([(0, 0, 0), (-1, -2, -3), (2**31 - 1, 0, 0), (0, 0, 2**63 - 1), (0, -(2**31), 0)])
    else:
        parts = (rng.randint(0, 40), rng.randint(0, 60), rng.randint(0, 10**14))
    return b"".join(map(signed_vint_bytes, parts))


def _timestamp(rng: random.Random) -> bytes:
    edges = [0, -1, -1001, 253402300799999, -62135596800000, 4102444800123]
    millis = rng.choice(edges) if rng.random() < 0.15 else rng.randint(-(10**12), 2 * 10**12)
    return struct.pack(">q", millis)


def _date(rng: random.Random) -> bytes:
    days = rng.choice([0, 2**32 - 1, 2**31]) if rng.random() < 0.1 else 2**31 + rng.randint(-30000, 40000)
    return struct.pack(">I", days)


def _time(rng: random.Random) -> bytes:
    last = 86_399_999_999_999
    return struct.pack(">q", rng.choice([0, last, 1]) if rng.random() < 0.2 else rng.randint(0, last))


def _uuid(version: int) -> Make:
    def make(rng: random.Random) -> bytes:
        drawn = bytearray(rng.randbytes(16))
        drawn[6] = drawn[6] & 0x0F | version << 4
        drawn[8] = drawn[8] & 0x3F | 0x80
        return bytes(drawn)

    return make


_SCALARS: dict[str, Make] = {
    "ascii": lambda rng: bytes(rng.choices(range(32, 127), k=rng.randint(0, 12))),
    "bigint": _integer(8),
    "blob": lambda rng: (
        rng.choice([b"", b"\0", b"\xff\0\xff"]) if rng.random() < 0.2 else rng.randbytes(rng.randint(1, 24))
    ),
    "boolean": lambda rng: rng.choice([b"\0", b"\1"]),
    "date": _date,
    "decimal": _decimal,
    "double": _float(">d", 1.7976931348623157e308, 5e-324),
    "duration": _duration,
    "float": _float(">f", 3.4028234663852886e38, 1.401298464324817e-45),
    "inet": lambda rng: rng.randbytes(4) if rng.random() < 0.5 else rng.choice([bytes(15) + b"\1", rng.randbytes(16)]),
    "int": _integer(4),
    "smallint": _integer(2),
    "text": _text,
    "time": _time,
    "timestamp": _timestamp,
    "timeuuid": _uuid(1),
    "tinyint": _integer(1),
    "uuid": _uuid(4),
    "varint": _varint,
}

NATIVE = tuple(_SCALARS)
"""Every native type but counter."""

KEYABLE = tuple(name for name in NATIVE if name != "duration")
"""Those that may be a part of a primary key, of a set or of a map's keys."""


def value(rng: random.Random, kind: CqlType, depth: int = 0) -> bytes:
    """A value; now and then one of zero bytes, where Cassandra admits it.

    It does not as an element of a collection: it takes that for null, and fails with a NullPointerException.
    """
    if kind in _EMPTY_ALLOWED and rng.random() < 0.03:
        return b""
    return full_value(rng, kind, depth)


def full_value(rng: random.Random, kind: CqlType, depth: int = 0) -> bytes:
    """A value; only of text, ascii and blob it may have zero bytes."""
    match kind:
        case Scalar(name):
            return _SCALARS[name](rng)
        case ListType(element):
            return counted(*(full_value(rng, element, depth + 1) for _ in range(_length(rng, depth))))
        case SetType(element):
            return counted(*_distinct(rng, element, depth))
        case MapType(key, entry):
            keys = _distinct(rng, key, depth)
            return pairs(*(item for one in keys for item in (one, full_value(rng, entry, depth + 1))))
        case VectorType(element, dimension):
            return vector(element, *(full_value(rng, element, depth + 1) for _ in range(dimension)))
        case TupleType(elements) | UserType(field_types=elements):
            return fields(*(None if rng.random() < 0.15 else value(rng, one, depth + 1) for one in elements))
    raise AssertionError(kind)


def key_value(rng: random.Random, kind: CqlType, pool: int) -> bytes:
    """One of few values, so that statements meet: by the type alone, never empty, no two that compare equal."""
    numbered = random.Random(f"{kind.cql}/{rng.randrange(pool)}")
    while not (drawn := _SCALARS["text"](numbered)[:40] if kind == Scalar("text") else value(numbered, kind)):
        pass
    return drawn


def _length(rng: random.Random, depth: int) -> int:
    return rng.choice([0, 1, 1, 2, 3] if depth else [1, 1, 2, 3, 5])


def _distinct(rng: random.Random, kind: CqlType, depth: int) -> list[bytes]:
    drawn = [full_value(rng, kind, depth + 1) for _ in range(_length(rng, depth))]
    return list({repr(rank(kind, one)): one for one in drawn}.values())


__all__ = ["KEYABLE", "NATIVE", "full_value", "int_bytes", "key_value", "value"]
