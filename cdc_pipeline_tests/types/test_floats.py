from __future__ import annotations

import json
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import Form, Scalar, to_json
from cdc_pipeline.types.floats import double_text, float_text, shortest_float32
from cdc_pipeline_tests.types.values import FLOAT

DOUBLE = Scalar("double")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3f8ccccd", "1.1"),
        ("00000000", "0.0"),
        ("80000000", "-0.0"),
        ("7f7fffff", "3.4028235E38"),
        ("00000001", "1.4E-45"),
        ("00000002", "2.8E-45"),
        ("00000007", "9.8E-45"),
        ("80000001", "-1.4E-45"),
        ("00800000", "1.1754944E-38"),
        ("3a83126f", "0.001"),
        ("4b189680", "1.0E7"),
        ("4b18967f", "9999999.0"),
        ("c2440000", "-49.0"),
        ("6a000000", "3.8685626E25"),
        ("447a2001", "1000.50006"),
        ("4c800004", "6.71089E7"),
        ("4c800005", "6.7108904E7"),
        ("e1478e7b", "-2.3007305E20"),
    ],
)
def test_floats(value: str, expected: str) -> None:
    """A float prints the fewest digits that tell it apart at 32 bits, two at least, as Java 19 and later do."""
    assert to_json(FLOAT)(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (5e-324, "4.9E-324"),
        (1e-323, "9.9E-324"),
        (2e-323, "2.0E-323"),
        (2e23, "2.0E23"),
        (0.002, "0.002"),
        (100.0, "100.0"),
        (1234567.0, "1234567.0"),
        (1e7, "1.0E7"),
        (-12345678.5, "-1.23456785E7"),
        (9.999e-4, "9.999E-4"),
        (1e-5, "1.0E-5"),
        (-0.00012, "-1.2E-4"),
        (1e16, "1.0E16"),
        (120000000.0, "1.2E8"),
        (-0.0, "-0.0"),
    ],
)
def test_doubles(number: float, expected: str) -> None:
    """A double is plain from 10^-3 to below 10^7, else it has an exponent."""
    assert double_text(number) == expected
    assert to_json(DOUBLE)(struct.pack(">d", number)) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [("cassandra", ["null", "null", "null"]), ("destination", ['"NaN"', '"Infinity"', '"-Infinity"'])],
)
def test_not_finite(form: Form, expected: list[str]) -> None:
    """NaN and the infinities are null for Cassandra, strings for a destination."""
    numbers = (float("nan"), float("inf"), float("-inf"))
    assert [to_json(FLOAT, form)(struct.pack(">f", number)) for number in numbers] == expected
    assert [to_json(DOUBLE, form)(struct.pack(">d", number)) for number in numbers] == expected


FINITE32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(FINITE32)
def test_floats_read_back(number: float) -> None:
    """The digits of a float read back as the same 32 bits."""
    text = float_text(number)
    assert struct.pack(">f", json.loads(text)) == struct.pack(">f", number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_read_back(number: float) -> None:
    """The digits of a double read back as the same 64 bits."""
    assert struct.pack(">d", json.loads(double_text(number))) == struct.pack(">d", number)


@given(FINITE32.filter(lambda number: abs(number) >= 2.0**-126) | st.integers(-125, 127).map(lambda at: 2.0**at))
def test_no_shorter_float(number: float) -> None:
    """No decimal of fewer digits reads back as the same float, and none of as many is nearer."""
    chosen = shortest_float32(number)
    digits = len(repr(chosen).partition("e")[0].replace(".", "").strip("-0"))
    below, above = _neighbours(number)
    for length in range(1, digits + 1):
        for candidate in _decimals_around(number, length):
            inside = (below + Fraction(number)) / 2 < candidate < (above + Fraction(number)) / 2
            assert not inside or length == digits
            nearer = abs(candidate - Fraction(number)) < abs(Fraction(repr(chosen)) - Fraction(number))
            assert not (inside and nearer)


def _neighbours(number: float) -> tuple[Fraction, Fraction]:
    bits = int.from_bytes(struct.pack(">f", abs(number)), "big")
    near = [
        Fraction(struct.unpack(">f", struct.pack(">I", bits + step))[0])
        if bits + step < 0x7F800000
        else Fraction(2**128)
        for step in (-1, 1)
    ]
    return (near[0], near[1]) if number > 0 else (-near[1], -near[0])


def _decimals_around(number: float, digits: int) -> list[Fraction]:
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    unit = Fraction(10) ** (int(exponent) - digits + 1)
    return [Fraction(mantissa) * Fraction(10) ** int(exponent) + unit * step for step in (-1, 0, 1)]


@given(st.integers(1, 2**23 - 1))
def test_subnormal_floats(bits: int) -> None:
    """Below the least normal float two digits are the fewest, the nearest of their length."""
    number = struct.unpack(">f", struct.pack(">I", bits))[0]
    chosen = shortest_float32(number)
    digits = max(2, len(repr(chosen).partition("e")[0].replace(".", "").strip("-0")))
    assert chosen == float(f"{number:.{digits}g}")
    assert struct.pack(">f", chosen) == struct.pack(">I", bits)


@pytest.mark.parametrize(("cql_type", "length"), [(FLOAT, 4), (DOUBLE, 8)])
def test_malformed(cql_type: Scalar, length: int) -> None:
    """A wrong length is told by type, expected and found."""
    with pytest.raises(ValueError, match=f"^{cql_type.name}: expected {length} bytes, found 3$"):
        to_json(cql_type)(b"\x00\x00\x00")
