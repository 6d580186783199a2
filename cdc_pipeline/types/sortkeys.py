"""One value as bytes that sort, unsigned, as Cassandra sorts the values of its type.

Most encodings are prefix-free (no key begins another), so they can stand one behind the other as they are; those of
UNBOUNDED types are the raw bytes and need an escape there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from struct import Struct

from cdc_pipeline.types.numbers import decode_decimal, decode_varint, integer_text
from cdc_pipeline.types.wire import wrong_length

Encoder = Callable[[bytes], bytes]

INVERTED = bytes(range(255, -1, -1))  # for bytes.translate
_FLIPPED = bytes((byte ^ 0x80) for byte in range(256))
_LONG = Struct(">q")
_LENGTH = Struct(">I")
_LONG_MARK = 0x7F  # lengths from here on follow in 4 bytes of their own


def raw(value: bytes) -> bytes:
    """Types that Cassandra compares byte by byte."""
    return value


def raw_of_length(name: str, length: int) -> Encoder:
    """The same for types of one length, which makes them prefix-free."""

    def encode(value: bytes) -> bytes:
        return _checked(name, length, value)

    return encode


def boolean_key(value: bytes) -> bytes:
    """False, then every other byte, as one."""
    return b"\x01" if _checked("boolean", 1, value)[0] else b"\x00"


def signed_key(name: str, length: int) -> Encoder:
    """Two's complement of one length: the sign bit is flipped."""

    def encode(value: bytes) -> bytes:
        return _flip_sign(_checked(name, length, value))

    return encode


def float_key(name: str, layout: str) -> Encoder:
    """`Float.compare`: -0.0 before 0.0, all NaN alike and last."""
    packed = Struct(layout)
    nan = packed.pack(math.nan)

    def encode(value: bytes) -> bytes:
        number: float = packed.unpack(_checked(name, packed.size, value))[0]
        if number != number:
            value = nan
        return value.translate(INVERTED) if value[0] & 0x80 else _flip_sign(value)

    return encode


def timeuuid_key(value: bytes) -> bytes:
    """By time, then by the last 8 bytes, each signed (`TimeUUIDType.compareCustom`)."""
    _checked("timeuuid", 16, value)
    return _time_first(value) + value[8:].translate(_FLIPPED)


def uuid_key(value: bytes) -> bytes:
    """By version, then by time for version 1 and else by bytes, unsigned (`UUIDType.compareCustom`)."""
    version = _checked("uuid", 16, value)[6] >> 4
    high = _time_first(value) if version == 1 else value[:8]
    return bytes((version,)) + high + value[8:]


def lexical_uuid_key(value: bytes) -> bytes:
    """By two signed 64-bit halves, as Java's `UUID.compareTo`."""
    _checked("LexicalUUIDType", 16, value)
    return _flip_sign(value[:8]) + _flip_sign(value[8:])


def varint_key(value: bytes) -> bytes:
    """By number, whatever the length of its bytes."""
    return integer_key(decode_varint(value))


def decimal_key(value: bytes) -> bytes:
    """By number, whatever its scale: sign, exponent, then the significant digits in pairs."""
    unscaled, scale = decode_decimal(value)
    if unscaled == 0:
        return b"\x80"
    digits = integer_text(abs(unscaled))
    exponent = len(digits) - scale  # of 0.d1d2… x 10^exponent
    digits = digits.rstrip("0")
    digits += "0" * (len(digits) % 2)
    pairs = bytes(int(digits[at : at + 2]) + 1 for at in range(0, len(digits), 2))
    key = b"\x81" + integer_key(exponent) + pairs + b"\x00"
    return key if unscaled > 0 else key.translate(INVERTED)


def integer_key(number: int) -> bytes:
    """An integer of any size: number of bytes, then the bytes; the whole inverted below 0."""
    magnitude = abs(number)
    length = (magnitude.bit_length() + 7) // 8
    body = magnitude.to_bytes(length, "big")
    if length < _LONG_MARK:
        key = bytes((0x80 | length,)) + body
    else:
        key = bytes((0x80 | _LONG_MARK,)) + _LENGTH.pack(length) + body
    return key if number >= 0 else key.translate(INVERTED)


#: types whose keys are their bytes, of any length, and may begin one another
UNBOUNDED = frozenset(["text", "ascii", "blob", "inet", "duration", "counter"])

SCALAR_KEYS: dict[str, Encoder] = {
    **dict.fromkeys(UNBOUNDED, raw),
    "boolean": boolean_key,
    "tinyint": signed_key("tinyint", 1),
    "smallint": signed_key("smallint", 2),
    "int": signed_key("int", 4),
    "bigint": signed_key("bigint", 8),
    "timestamp": signed_key("timestamp", 8),
    "date": raw_of_length("date", 4),
    "time": raw_of_length("time", 8),
    "float": float_key("float", ">f"),
    "double": float_key("double", ">d"),
    "varint": varint_key,
    "decimal": decimal_key,
    "uuid": uuid_key,
    "timeuuid": timeuuid_key,
}

#: the same by short Java class name; a class that is missing here is compared by its bytes
CUSTOM_KEYS: dict[str, Encoder] = {
    "LexicalUUIDType": lexical_uuid_key,
    "DateType": raw_of_length("DateType", 8),
}


def _checked(name: str, length: int, value: bytes) -> bytes:
    if len(value) != length:
        raise wrong_length(name, length, value)
    return value


def _flip_sign(value: bytes) -> bytes:
    return bytes((value[0] ^ 0x80,)) + value[1:]


def _time_first(uuid: bytes) -> bytes:
    """The 8 bytes of a version 1 time, most significant first."""
    return uuid[6:8] + uuid[4:6] + uuid[:4]
