"""Each CQL scalar in both profiles arrives exactly at a real server, up to the limits of its type and no further."""

from __future__ import annotations

import struct
import uuid
from decimal import Decimal, localcontext
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_pipeline.load.postgres.types import Unfit, value_type
from cdc_pipeline.load.postgres.types.literals import element_literal
from cdc_pipeline.load.postgres.types.mapping import EXACT, KEY_IS_EXACT, NATIVE, PROFILES
from cdc_pipeline.load.postgres.types.scalars import numeric
from cdc_pipeline.types import Scalar
from cdc_pipeline_tests.load.postgres.conftest import Stored, copied
from cdc_pipeline_tests.types.values import decimal_bytes, int_bytes, present, signed_vint_bytes, varint_bytes

unhurried = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))


def i8(number: int) -> bytes:
    return struct.pack(">q", number)


def day(number: int) -> bytes:
    """A CQL date of days since 1970."""
    return struct.pack(">I", number + 2**31)


def duration(months: int, days: int, nanos: int) -> bytes:
    return b"".join(map(signed_vint_bytes, (months, days, nanos)))


MIN_TIMESTAMP = (-211_813_488_000_000_000 + 946_684_800_000_000) // 1000
MAX_TIMESTAMP = (9_223_371_331_200_000_000 + 946_684_800_000_000) // 1000 - 1
MAPPED = bytes(10) + b"\xff\xff\x01\x02\x03\x04"

NATIVE_TEXTS: dict[str, list[tuple[bytes, str]]] = {
    "ascii": [(b"", ""), (b"a'b\\", "a'b\\")],
    "text": [(b"", ""), ("ü日🎈".encode(), "ü日🎈")],
    "blob": [(b"", "\\x"), (b"\x00\xff", "\\x00ff")],
    "boolean": [(b"\x00", "false"), (b"\x01", "true"), (b"\x05", "true")],
    "tinyint": [(b"\x80", "-128"), (b"\x7f", "127"), (b"\xff", "-1")],
    "smallint": [(b"\x80\x00", "-32768"), (b"\x7f\xff", "32767")],
    "int": [(int_bytes(-(2**31)), "-2147483648"), (int_bytes(2**31 - 1), "2147483647")],
    "bigint": [(i8(-(2**63)), "-9223372036854775808"), (i8(2**63 - 1), "9223372036854775807")],
    "varint": [(varint_bytes(n), str(n)) for n in (0, -1, 127, 128, -129, 10**40, -(10**40), 10_000, 99_990_000)],
    "decimal": [
        (decimal_bytes(0, 0), "0"),
        (decimal_bytes(0, 3), "0.000"),
        (decimal_bytes(-1, 4), "-0.0001"),
        (decimal_bytes(12345678901, 5), "123456.78901"),
        (decimal_bytes(120, 1), "12.0"),
        (decimal_bytes(5, -3), "5000"),
        (decimal_bytes(10001, 4), "1.0001"),
        (decimal_bytes(1, 9), "0.000000001"),
    ],
    "float": [(struct.pack(">f", n), t) for n, t in ((1.5, "1.5"), (-0.0, "-0"), (float("inf"), "Infinity"))]
    + [(b"\x7f\xc0\x00\x00", "NaN"), (b"\x00\x00\x00\x01", "1e-45")],
    "double": [(struct.pack(">d", n), t) for n, t in ((0.1, "0.1"), (5e-324, "5e-324"), (float("-inf"), "-Infinity"))],
    "timestamp": [
        (i8(0), "1970-01-01 00:00:00+00"),
        (i8(-1), "1969-12-31 23:59:59.999+00"),
        (i8(-62_135_596_800_001), "0001-12-31 23:59:59.999+00 BC"),
        (i8(MIN_TIMESTAMP), "4714-11-24 00:00:00+00 BC"),
        (i8(MAX_TIMESTAMP), "294276-12-31 23:59:59.999+00"),
    ],
    "date": [
        (day(0), "1970-01-01"),
        (day(-719_163), "0001-12-31 BC"),
        (day(-2_451_545 + 10_957), "4714-11-24 BC"),
        (day(2_145_031_948 + 10_957), "5874897-12-31"),
    ],
    "time": [(i8(0), "00:00:00"), (i8(86_399_999_999_000), "23:59:59.999999"), (i8(1000), "00:00:00.000001")],
    "duration": [
        (duration(0, 0, 0), "00:00:00"),
        (duration(14, 3, 3_661_000_001_000), "1 year 2 mons 3 days 01:01:01.000001"),
        (duration(-14, -3, -1000), "-1 years -2 mons -3 days -00:00:00.000001"),
        (duration(0, 0, -(2**63) + 808), "-2562047:47:16.854775"),
    ],
    "uuid": [(uuid.UUID(int=0).bytes, str(uuid.UUID(int=0))), (b"\xff" * 16, str(uuid.UUID(bytes=b"\xff" * 16)))],
    "timeuuid": [(uuid.UUID(int=7).bytes, str(uuid.UUID(int=7)))],
    "inet": [(b"\x7f\x00\x00\x01", "127.0.0.1/32"), (MAPPED, "::ffff:1.2.3.4/128"), (bytes(15) + b"\x01", "::1/128")],
}
EXACT_TEXTS: dict[str, list[tuple[bytes, str]]] = {
    **NATIVE_TEXTS,
    "varint": [(varint_bytes(n), str(n)) for n in (0, -1, 10**40)] + [(varint_bytes(-(10**5000)), "-1" + "0" * 5000)],
    "decimal": [
        (decimal_bytes(100, 2), "1.00"),
        (decimal_bytes(1, -3), "1E+3"),
        (decimal_bytes(1, 2**31 - 1), "1E-2147483647"),
        (decimal_bytes(1, -(2**31)), "1E+2147483648"),
        (decimal_bytes(0, 20_000), "0E-20000"),
    ],
    "timestamp": [(i8(n), str(n)) for n in (-(2**63), 2**63 - 1, 0)],
    "date": [(day(n), str(n)) for n in (-(2**31), 2**31 - 1, 0)],
    "time": [(i8(86_399_999_999_999), "86399999999999")],
    "duration": [
        (duration(-(2**31), -(2**31), -(2**63)), f"{-(2**31)}mo{-(2**31)}d{-(2**63)}ns"),
        (duration(1, 2, 3), "1mo2d3ns"),
    ],
}
CASES = [
    *(("native", name, texts) for name, texts in NATIVE_TEXTS.items()),
    *(("exact", name, texts) for name, texts in EXACT_TEXTS.items()),
]

OUTSIDE: list[tuple[str, bytes, str]] = [
    ("text", b"a\x00", "U+0000 inside a text"),
    ("text", b"\xff", "bytes that are not UTF-8"),
    ("varint", varint_bytes(10**131_072), "more than 131072 digits"),
    ("decimal", decimal_bytes(1, 16_384), "more than 16383 fraction digits"),
    ("decimal", decimal_bytes(1, -131_072), "more than 131072 digits"),
    ("decimal", decimal_bytes(1, -(2**31)), "more than 131072 digits"),
    ("timestamp", i8(MIN_TIMESTAMP - 1), "a timestamp outside of 4713 BC to 294276"),
    ("timestamp", i8(MAX_TIMESTAMP + 1), "a timestamp outside of 4713 BC to 294276"),
    ("timestamp", i8(2**63 - 1), "a timestamp outside of 4713 BC to 294276"),
    ("date", day(-2_451_545 + 10_956), "a date outside of 4713 BC to 5874897"),
    ("date", day(2_145_031_949 + 10_957), "a date outside of 4713 BC to 5874897"),
    ("time", i8(1), "nanoseconds that are no whole microsecond"),
    ("time", i8(-1000), "a time outside of a day"),
    ("time", i8(86_400_000_001_000), "a time outside of a day"),
    ("duration", duration(0, 0, 1), "nanoseconds that are no whole microsecond"),
    ("duration", duration(0, 0, -1), "nanoseconds that are no whole microsecond"),
    ("inet", b"\x01", "4 or 16 bytes expected, found 1"),
    ("int", b"\x01", "4 bytes expected, found 1"),
]
"""Just beyond what a native type holds."""

LIMITS: list[tuple[str, bytes, int]] = [
    ("varint", varint_bytes(10**131_072 - 1), 131_072),
    ("decimal", decimal_bytes(1, 16_383), 16_385),
    ("decimal", decimal_bytes(1, -131_071), 131_072),
    ("decimal", decimal_bytes(10**147_455 - 1, 16_383), 147_456),
]
"""The largest numbers, and the length of their texts."""


@pytest.mark.parametrize(("profile", "name", "texts"), CASES, ids=[f"{p}-{n}" for p, n, _ in CASES])
def test_values_arrive(stored: Stored, profile: str, name: str, texts: list[tuple[bytes, str]]) -> None:
    """The server shows what Cassandra holds."""
    kind = value_type(Scalar(name), profile)
    assert stored(kind.sql, [kind.encode(raw) for raw, _ in texts]) == [text for _, text in texts]


def test_all_scalars_are_mapped() -> None:
    """Both profiles know the same scalars, and every one is in these tests."""
    assert set(NATIVE) == set(EXACT)
    assert set(NATIVE_TEXTS) == set(NATIVE) - {"counter"}
    assert set(NATIVE) >= KEY_IS_EXACT


@pytest.mark.parametrize(("name", "raw", "why"), OUTSIDE, ids=[f"{n}-{w}-{len(r)}" for n, r, w in OUTSIDE])
def test_just_beyond_a_limit(name: str, raw: bytes, why: str) -> None:
    """What the type cannot hold exactly is refused with a reason that does not hold the value."""
    with pytest.raises(Unfit) as caught:
        value_type(Scalar(name), "native").encode(raw)
    assert str(caught.value) == why


@pytest.mark.parametrize(("name", "raw", "length"), LIMITS, ids=[f"{n}-{size}" for n, _, size in LIMITS])
def test_the_largest_numbers(stored: Stored, name: str, raw: bytes, length: int) -> None:
    """Numbers at the very limits of `numeric` are taken by the server."""
    kind = value_type(Scalar(name), "native")
    (text,) = stored(kind.sql, [kind.encode(raw)])
    assert len(text or "") == length


@given(st.integers() | st.integers(-(10**60), 10**60), st.integers(-40, 80))
@unhurried
def test_numeric_is_the_decimal(connection: psycopg.Connection[Any], unscaled: int, scale: int) -> None:
    """Any unscaled number and scale is the same number at the server, with the digits behind the point it came with."""
    (text,) = copied(connection, "numeric", [numeric(unscaled, scale)])
    assert text is not None
    with localcontext(prec=500):
        assert Decimal(text) == Decimal(unscaled).scaleb(-scale)
    assert len(text.partition(".")[2]) == max(scale, 0)


@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize("name", sorted(set(NATIVE) - {"counter"}))
def test_literals_equal_fields(connection: psycopg.Connection[Any], profile: str, name: str) -> None:
    """An element that a view reads from text is the value that binary COPY would have stored, or fails alike."""
    scalar = PROFILES[profile][name]
    literal = element_literal(name, scalar)

    @given(st.lists(present(Scalar(name)), min_size=1, max_size=20))
    @settings(unhurried, max_examples=8)
    def same(values: list[bytes]) -> None:
        fields, texts = [], []
        for raw in values:
            try:
                fields.append(scalar.encode(raw))
            except Unfit:
                with pytest.raises(Unfit):
                    literal(raw)
            else:
                texts.append(literal(raw))
        sent = copied(connection, scalar.sql, fields)
        query = f"SELECT v::text FROM unnest(%s::text[]::{scalar.sql}[]) WITH ORDINALITY u(v, i) ORDER BY i"
        assert [text for (text,) in connection.execute(query.encode(), (texts,)).fetchall()] == sent

    same()


@pytest.mark.parametrize("style", ["postgres", "sql_standard", "iso_8601", "postgres_verbose"])
@pytest.mark.parametrize("dates", ["ISO, MDY", "German, DMY", "SQL, YMD"])
def test_literals_mean_the_same_in_every_session(connection: psycopg.Connection[Any], style: str, dates: str) -> None:
    """A user's IntervalStyle and DateStyle change how elements are shown, never what they are."""
    raws = {
        "duration": [
            duration(-14, 3, 1_000_000),
            duration(14, -3, -1000),
            duration(0, -1, 5000),
            duration(-1, 0, 1000),
        ],
        "date": [day(0), day(-719_163), day(4_000_000), day(-2_000_000)],
        "timestamp": [i8(0), i8(-62_135_596_800_001), i8(10**15), i8(-1)],
    }
    with connection.transaction(force_rollback=True):
        connection.execute(
            "SELECT set_config('IntervalStyle', %s, true), set_config('DateStyle', %s, true)", (style, dates)
        )
        for name, values in raws.items():
            scalar = NATIVE[name]
            literal = element_literal(name, scalar)
            connection.execute(f"CREATE TEMPORARY TABLE one (at serial, v {scalar.sql})".encode())
            with connection.cursor() as cursor, cursor.copy("COPY one (v) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["bytea"])
                for raw in values:
                    copy.write_row([scalar.encode(raw)])
            read = f"unnest(%s::text[]::{scalar.sql}[]) WITH ORDINALITY u(v, i)"
            query = f"SELECT bool_and(u.v = one.v) FROM one JOIN {read} ON i = at"
            assert connection.execute(query.encode(), ([literal(raw) for raw in values],)).fetchone() == (True,), name
            connection.execute("DROP TABLE one")


@pytest.mark.parametrize(
    "name", sorted(name for name, kind in (NATIVE | EXACT).items() if kind.tie and name != "counter")
)
@pytest.mark.parametrize("profile", list(PROFILES))
def test_ties_sort_like_the_bytes(connection: psycopg.Connection[Any], profile: str, name: str) -> None:
    """Where the stored value decides between two writes of one microsecond it decides as Cassandra's bytes do."""
    kind = value_type(Scalar(name), profile)
    if kind.tie is None:
        assert kind.sql in ("numeric", "text", "interval")
        return
    values = sorted({raw for raw, _ in (NATIVE_TEXTS if profile == "native" else EXACT_TEXTS)[name] if raw})
    if name == "boolean":
        values = [b"\x00", b"\x01"]
    fields = [kind.encode(raw) for raw in values]
    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMPORARY TABLE tied (at serial, v {kind.sql})".encode())
        with connection.cursor() as cursor, cursor.copy("COPY tied (v) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["bytea"])
            for field in fields:
                copy.write_row([field])
        order = connection.execute(f"SELECT at FROM tied ORDER BY {kind.tie.format('v')}".encode()).fetchall()
    assert [at for (at,) in order] == list(range(1, len(values) + 1))
