"""CQL scalars as PostgreSQL values: one small function per type, from Cassandra's bytes to a binary COPY field.

Many are the same bytes. `Unfit` says why a value has no exact form; its text never holds the value. The limits are
PostgreSQL's own (`datatype/timestamp.h`, `utils/numeric.c`).
"""

from __future__ import annotations

import struct

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.types import decode_decimal, decode_duration, decode_varint
from cdc_pipeline.types.numbers import decimal_text, integer_text

EPOCH_2000_MICROS = 946_684_800_000_000
EPOCH_2000_DAYS = 10_957
MIN_TIMESTAMP = -211_813_488_000_000_000
END_TIMESTAMP = 9_223_371_331_200_000_000
MIN_DATE = -2_451_545
END_DATE = 2_145_031_949
DAY_MICROS = 86_400_000_000
_LARGEST_SCALE = 16_383
_LARGEST_INTEGER_DIGITS = 131_072

_INT2 = struct.Struct(">h")
_INT4 = struct.Struct(">i")
_INT8 = struct.Struct(">q")
_UINT4 = struct.Struct(">I")
_INTERVAL = struct.Struct(">qii")
_NUMERIC = struct.Struct(">HhHH")


def _sized(raw: bytes, size: int) -> bytes:
    if len(raw) != size:
        raise Unfit(f"{size} bytes expected, found {len(raw)}")
    return raw


def text(raw: bytes) -> bytes:
    """UTF-8 as it is; U+0000 has no place in PostgreSQL's text."""
    if b"\x00" in raw:
        raise Unfit("U+0000 inside a text")
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise Unfit("bytes that are not UTF-8") from None
    return raw


def bytea(raw: bytes) -> bytes:
    """As it is."""
    return raw


def boolean(raw: bytes) -> bytes:
    """Any byte but 0 is true."""
    return b"\x00" if _sized(raw, 1) == b"\x00" else b"\x01"


def smallint_of_tinyint(raw: bytes) -> bytes:
    """One signed byte, widened."""
    return _INT2.pack(struct.unpack(">b", _sized(raw, 1))[0])


def same2(raw: bytes) -> bytes:
    """Two bytes as they are."""
    return _sized(raw, 2)


def same4(raw: bytes) -> bytes:
    """Four bytes as they are."""
    return _sized(raw, 4)


def same8(raw: bytes) -> bytes:
    """Eight bytes as they are."""
    return _sized(raw, 8)


def same16(raw: bytes) -> bytes:
    """Sixteen bytes as they are."""
    return _sized(raw, 16)


def timestamptz(raw: bytes) -> bytes:
    """ms since 1970 as µs since 2000."""
    micros = int(_INT8.unpack(_sized(raw, 8))[0]) * 1000 - EPOCH_2000_MICROS
    if not MIN_TIMESTAMP <= micros < END_TIMESTAMP:
        raise Unfit("a timestamp outside of 4713 BC to 294276")
    return _INT8.pack(micros)


def days(raw: bytes) -> int:
    """Days since 1970 of a CQL date (2^31 is the epoch)."""
    return int(_UINT4.unpack(_sized(raw, 4))[0]) - 2**31


def date(raw: bytes) -> bytes:
    """Days since 1970 as days since 2000."""
    since_2000 = days(raw) - EPOCH_2000_DAYS
    if not MIN_DATE <= since_2000 < END_DATE:
        raise Unfit("a date outside of 4713 BC to 5874897")
    return _INT4.pack(since_2000)


def date_exact(raw: bytes) -> bytes:
    """Days since 1970."""
    return _INT4.pack(days(raw))


def time(raw: bytes) -> bytes:
    """ns since midnight as µs."""
    micros, rest = divmod(int(_INT8.unpack(_sized(raw, 8))[0]), 1000)
    if rest:
        raise Unfit("nanoseconds that are no whole microsecond")
    if not 0 <= micros <= DAY_MICROS:
        raise Unfit("a time outside of a day")
    return _INT8.pack(micros)


def interval(raw: bytes) -> bytes:
    """Months, days and µs."""
    months, day_count, nanos = decode_duration(raw)
    micros, rest = divmod(nanos, 1000)
    if rest:
        raise Unfit("nanoseconds that are no whole microsecond")
    return _INTERVAL.pack(micros, day_count, months)


def duration_exact(raw: bytes) -> bytes:
    """`<m>mo<d>d<n>ns`, all three signed: Cassandra's own form loses the minima."""
    months, day_count, nanos = decode_duration(raw)
    return f"{months}mo{day_count}d{nanos}ns".encode()


def inet(raw: bytes) -> bytes:
    """Family, bits, not a network, size, address (`network.c`)."""
    if len(raw) == 4:
        return b"\x02\x20\x00\x04" + raw
    if len(raw) == 16:
        return b"\x03\x80\x00\x10" + raw
    raise Unfit(f"4 or 16 bytes expected, found {len(raw)}")


def varint(raw: bytes) -> bytes:
    """`numeric` without fraction."""
    return numeric(decode_varint(raw), 0)


def varint_exact(raw: bytes) -> bytes:
    """Decimal digits."""
    return integer_text(decode_varint(raw)).encode()


def decimal(raw: bytes) -> bytes:
    """`numeric` of the same scale; a negative scale is written out."""
    return numeric(*decode_decimal(raw))


def decimal_exact(raw: bytes) -> bytes:
    """Java's `BigDecimal.toString`, as Cassandra prints it: unscaled digits and scale survive."""
    return decimal_text(*decode_decimal(raw)).encode()


def numeric(unscaled: int, scale: int) -> bytes:
    """PostgreSQL's binary `numeric` of unscaled x 10^-scale: base-10000 digits, weight, sign, display scale."""
    if unscaled == 0:
        scale = max(scale, 0)
    if scale > _LARGEST_SCALE:
        raise Unfit("more than 16383 fraction digits")
    if unscaled.bit_length() > (_LARGEST_INTEGER_DIGITS + _LARGEST_SCALE) * 3.33 or -scale > _LARGEST_INTEGER_DIGITS:
        raise Unfit("more than 131072 digits")
    digits = integer_text(abs(unscaled)) if unscaled else ""
    if scale < 0:
        digits, scale = digits and digits + "0" * -scale, 0
    if len(digits) - scale > _LARGEST_INTEGER_DIGITS:
        raise Unfit("more than 131072 digits")
    digits = digits.rjust(scale, "0")
    whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    fraction = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int(both) for both in _fours(whole + fraction)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    sign = 0x4000 if unscaled < 0 else 0
    if not groups:
        weight = 0
    return _NUMERIC.pack(len(groups), weight, sign, scale) + struct.pack(f">{len(groups)}h", *groups)


def _fours(digits: str) -> list[str]:
    return [digits[at : at + 4] for at in range(0, len(digits), 4)]
