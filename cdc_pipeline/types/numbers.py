"""boolean, the integers, decimal and counter."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from struct import Struct, error

from cdc_pipeline.types.registry import Printer, register
from cdc_pipeline.types.wire import wrong_length

_SAFE_BITS = 14_000  # Python refuses to print integers of more than 4300 digits, about 14 284 bits


def decode_varint(value: bytes) -> int:
    """Two's complement, big-endian, of any length from one byte."""
    if not value:
        raise wrong_length("varint", "1 or more", value)
    return int.from_bytes(value, "big", signed=True)


def decode_decimal(value: bytes) -> tuple[int, int]:
    """A 4-byte signed scale, then a varint -> (unscaled, scale); the number is unscaled x 10^-scale."""
    if len(value) < 5:
        raise wrong_length("decimal", "5 or more", value)
    return int.from_bytes(value[4:], "big", signed=True), int.from_bytes(value[:4], "big", signed=True)


def integer_text(number: int) -> str:
    """Decimal digits of an integer of any size."""
    return str(number) if number.bit_length() < _SAFE_BITS else str(Decimal(number))


def decimal_text(unscaled: int, scale: int) -> str:
    """Java's `BigDecimal.toString`: plain for a scale of 0 or more and at most six zeros after the point."""
    digits = integer_text(unscaled)
    if scale == 0:
        return digits
    sign, digits = ("-", digits[1:]) if unscaled < 0 else ("", digits)
    exponent = len(digits) - 1 - scale
    if scale > 0 and exponent >= -6:
        digits = digits.rjust(scale + 1, "0")
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}E{exponent:+d}"


def boolean_json(value: bytes) -> str:
    """One byte; any but 0 is true."""
    if len(value) != 1:
        raise wrong_length("boolean", 1, value)
    return "true" if value[0] else "false"


def integer_json(name: str, layout: str) -> Callable[[bytes], str]:
    """A printer of signed integers of one width; `layout` is its struct format."""
    packed = Struct(layout)

    def present(value: bytes) -> str:
        try:
            return str(packed.unpack(value)[0])
        except error:
            raise wrong_length(name, packed.size, value) from None

    return present


def varint_json(value: bytes) -> str:
    """Decimal digits."""
    return integer_text(decode_varint(value))


def decimal_json(value: bytes) -> str:
    """A number with all of its decimals."""
    return decimal_text(*decode_decimal(value))


def counter_json(value: bytes) -> str:
    """`null`: a counter's bytes are the shards that one node knows, not the number."""
    return "null"


register("boolean", cassandra=Printer(boolean_json, nested_empty=None))
register("tinyint", cassandra=Printer(integer_json("tinyint", ">b"), nested_empty=None))
register("smallint", cassandra=Printer(integer_json("smallint", ">h")))
register("int", cassandra=Printer(integer_json("int", ">i")))
register("bigint", cassandra=Printer(integer_json("bigint", ">q")))
register("varint", cassandra=Printer(varint_json))
register("decimal", cassandra=Printer(decimal_json))
register("counter", cassandra=Printer(counter_json, "null", "null"))
