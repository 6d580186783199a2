"""The type table, as data: from CQL to ClickHouse, profile `native` and `exact` (`types.md`)."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pyarrow as pa

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.clickhouse.types.scalars import (
    Numbers,
    ScalarType,
    beside,
    decimal_of,
    from_bytes,
    number,
    plain,
    sixteen,
    within,
)
from cdc_pipeline.types import decode_decimal, decode_duration, decode_varint
from cdc_pipeline.types.numbers import decimal_text, integer_text

_MILLIS_OF_1900, _END_OF_2299 = -2_208_988_800_000, 10_413_791_999_999
_DAY_OF_1900, _LAST_OF_2299 = -25_567, 120_529
_EPOCH = 2**31
"""Day 0 of a CQL date."""


def _as(dtype: str, arrow: pa.DataType) -> Any:
    return lambda numbers: pa.array(numbers.astype(dtype)).cast(arrow)


def _days(numbers: Numbers) -> pa.Array:
    return pa.array((numbers.astype(np.int64) - _EPOCH).astype(np.int32))


def _fits_date32(numbers: Numbers) -> Any:
    return within(_DAY_OF_1900, _LAST_OF_2299, "a date outside of 1900 to 2299")(numbers.astype(np.int64) - _EPOCH)


def _int256(raw: bytes) -> bytes:
    value = decode_varint(raw)
    if not -(2**255) <= value < 2**255:
        raise Unfit("more than 256 bits")
    return value.to_bytes(32, "little", signed=True)


def _inet(raw: bytes) -> str:
    if len(raw) not in (4, 16):
        raise Unfit(f"4 or 16 bytes expected, found {len(raw)}")
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


_SHOW_INET = (
    "if(length({b}) = 4, IPv4NumToString(reinterpretAsUInt32(reverse({b}))), "
    "IPv6NumToString(toFixedString(if(length({b}) = 16, {b}, ''), 16)))"
)
_DURATION = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())])


def _duration(raw: bytes) -> dict[str, int]:
    return dict(zip(("months", "days", "nanoseconds"), decode_duration(raw), strict=True))


def _duration_text(raw: bytes) -> str:
    months, days, nanos = decode_duration(raw)
    return f"{months}mo{days}d{nanos}ns"


STRING = plain("String")
UUID = sixteen("UUID")
INT64 = number(">i8", "Int64", "reinterpret({b}, 'Int64')", _as("<i8", pa.int64()))

DURATION_SQL = "Tuple(months Nullable(Int32), days Nullable(Int32), nanoseconds Nullable(Int64))"

NATIVE: dict[str, ScalarType] = {
    "ascii": STRING,
    "text": STRING,
    "blob": STRING,
    "boolean": number(">u1", "Bool", "CAST({b} != 0, 'Bool')", lambda numbers: pa.array(numbers != 0)),
    "tinyint": number(">i1", "Int8", "reinterpret({b}, 'Int8')", _as("<i1", pa.int8())),
    "smallint": number(">i2", "Int16", "reinterpret({b}, 'Int16')", _as("<i2", pa.int16())),
    "int": number(">i4", "Int32", "reinterpret({b}, 'Int32')", _as("<i4", pa.int32())),
    "bigint": INT64,
    "varint": beside("Int256", pa.binary(32), _int256),
    "decimal": beside("Decimal(76, 18)", pa.decimal256(76, 18), lambda raw: decimal_of(76, 18, *decode_decimal(raw))),
    "float": number(">f4", "Float32", "reinterpret({b}, 'Float32')", _as("<f4", pa.float32())),
    "double": number(">f8", "Float64", "reinterpret({b}, 'Float64')", _as("<f8", pa.float64())),
    "timestamp": number(
        ">i8",
        "DateTime64(3, 'UTC')",
        "fromUnixTimestamp64Milli(reinterpret({b}, 'Int64'), 'UTC')",
        lambda numbers: pa.array(numbers.astype("<i8")).cast(pa.timestamp("ms", "UTC")),
        within(_MILLIS_OF_1900, _END_OF_2299, "a timestamp outside of 1900 to 2299"),
    ),
    "date": number(
        ">u4",
        "Date32",
        f"addDays(toDate32('1970-01-01'), toInt64({{b}}) - {_EPOCH})",
        lambda numbers: _days(numbers).cast(pa.date32()),
        _fits_date32,
    ),
    "time": INT64,
    "duration": beside(DURATION_SQL, _DURATION, _duration),
    "uuid": UUID,
    "timeuuid": UUID,
    "inet": from_bytes("String", pa.string(), _inet, _SHOW_INET),
}

EXACT: dict[str, ScalarType] = NATIVE | {
    "varint": beside("String", pa.string(), lambda raw: integer_text(decode_varint(raw))),
    "decimal": beside("String", pa.string(), lambda raw: decimal_text(*decode_decimal(raw))),
    "timestamp": INT64,
    "date": number(">u4", "Int32", f"toInt32(toInt64({{b}}) - {_EPOCH})", _days),
    "duration": beside("String", pa.string(), _duration_text),
}

PROFILES = {"native": NATIVE, "exact": EXACT}

KEY_IS_EXACT = frozenset(
    {"ascii", "text", "blob", "tinyint", "smallint", "int", "bigint", "timestamp", "date", "time"}
    | {"uuid", "timeuuid", "inet"}
)
"""CQL types whose ClickHouse value is equal exactly when Cassandra's bytes are: their column can be a key itself."""
