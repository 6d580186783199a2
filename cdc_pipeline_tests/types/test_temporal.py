from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import CustomType, Form, Scalar, decode_duration, to_json
from cdc_pipeline_tests.types.values import signed_vint_bytes

DATE, TIME, TIMESTAMP, DURATION = (Scalar(name) for name in ("date", "time", "timestamp", "duration"))
DATE_TYPE = CustomType("org.apache.cassandra.db.marshal.DateType")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("80005079", '"2026-05-28"'),
        ("80000000", '"1970-01-01"'),
        ("7fffffff", '"1969-12-31"'),
        ("00000000", '"-5877641-06-23"'),
        ("ffffffff", '"+5881580-07-11"'),
        ("7ff506c5", '"0000-12-31"'),
        ("7ff506c6", '"0001-01-01"'),
        ("802cc0a1", '"+10000-01-01"'),
    ],
)
def test_dates(value: str, expected: str) -> None:
    """A date has an astronomical year of at least four digits, `+` above 9999, `-` below 0."""
    assert to_json(DATE)(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0000238485cb3c08", '"10:50:52.087344136"'), ("0000000000000000", '"00:00:00.000000000"')],
)
def test_times(value: str, expected: str) -> None:
    """A time always has nine digits after the seconds."""
    assert to_json(TIME)(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("milliseconds", "cassandra", "destination"),
    [
        (0x19A1045C800, '"2025-10-23 08:53:20.000Z"', '"2025-10-23 08:53:20.000Z"'),
        (2**63 - 1, '"+292278994-08-17 07:12:55.807Z"', '"+292278994-08-17 07:12:55.807Z"'),
        (-1, '"1969-12-31 23:59:59.999Z"', '"1969-12-31 23:59:59.999Z"'),
        (-62135596800000, '"0001-01-01 00:00:00.000Z"', '"0001-01-01 00:00:00.000Z"'),
        (-62135596800001, '"0001-12-31 23:59:59.999Z"', '"0000-12-31 23:59:59.999Z"'),
        (-62167219200001, '"0002-12-31 23:59:59.999Z"', '"-0001-12-31 23:59:59.999Z"'),
        (-(2**63), '"+292275056-05-16 16:47:04.192Z"', '"-292275055-05-16 16:47:04.192Z"'),
    ],
)
def test_timestamps(milliseconds: int, cassandra: str, destination: str) -> None:
    """Cassandra prints the year of its era without the era, a destination gets the astronomical year."""
    value = struct.pack(">q", milliseconds)
    for cql_type in (TIMESTAMP, DATE_TYPE):
        assert to_json(cql_type)(value) == cassandra
        assert to_json(cql_type, "destination")(value) == destination


@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamps_as_python_counts_them(moment: datetime) -> None:
    """Years 1 to 9999 agree with Python's calendar."""
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    expected = f'"{moment.year:04d}-{moment:%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}Z"'
    assert to_json(TIMESTAMP)(struct.pack(">q", milliseconds)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1c32fc2168cdf9d664", '"1y2mo25d5h6m7s8ms9us10ns"'),
        ("180202", '"1y1d1ns"'),
        ("000000", '""'),
        ("010305", '"-1mo2d3ns"'),
    ],
)
def test_durations(value: str, expected: str) -> None:
    """Parts that are 0 are left out and one sign stands in front."""
    assert to_json(DURATION)(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("parts", "cassandra", "destination"),
    [
        (
            (2**31 - 1, 2**31 - 1, 2**63 - 1),
            '"178956970y7mo2147483647d2562047h47m16s854ms775us807ns"',
            '"178956970y7mo2147483647d2562047h47m16s854ms775us807ns"',
        ),
        ((0, -(2**31), 0), '"-"', '"-2147483648d"'),
        (
            (-(2**31), -1, -(2**63)),
            '"-1d"',
            '"-178956970y8mo1d2562047h47m16s854ms775us808ns"',
        ),
    ],
)
def test_duration_limits(parts: tuple[int, int, int], cassandra: str, destination: str) -> None:
    """Cassandra's form loses a part that is the least of its width, a destination's keeps it."""
    value = b"".join(map(signed_vint_bytes, parts))
    assert decode_duration(value) == parts
    assert to_json(DURATION)(value) == cassandra
    assert to_json(DURATION, "destination")(value) == destination


@pytest.mark.parametrize(
    ("cql_type", "value", "problem"),
    [
        (DATE, b"\x00", "date: expected 4 bytes, found 1"),
        (TIME, b"\x00", "time: expected 8 bytes, found 1"),
        (TIMESTAMP, b"\x00", "timestamp: expected 8 bytes, found 1"),
        (DURATION, b"\x00\x00", "vint: expected a byte at offset 2, found the end"),
        (DURATION, bytes(4), "duration: expected 3 bytes, found 4"),
        (DURATION, signed_vint_bytes(2**31) + bytes(2), "duration: expected a part of 32 bits, found a wider one"),
    ],
)
@pytest.mark.parametrize("form", ["cassandra", "destination"])
def test_malformed(cql_type: Scalar, value: bytes, problem: str, form: Form) -> None:
    """Bytes that are none of the type's are told by type, expected and found."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        to_json(cql_type, form)(value)


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (2**63 - 1, '"23:47:16.854775807"'),
        (-1, '"00:00:00.00000000-1"'),
        (0x4E94914F03E8, '"00:00:00.000001000"'),
        (86_400_000_000_000, '"00:00:00.000000000"'),
    ],
)
def test_times_outside_a_day(nanoseconds: int, expected: str) -> None:
    """What `blobAsTime` let in prints as a recorded node of 5.0.6 printed it."""
    assert to_json(TIME)(struct.pack(">q", nanoseconds)) == expected
