from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import Scalar, decode_decimal, decode_varint, to_json
from cdc_pipeline.types.numbers import decimal_text, integer_text
from cdc_pipeline_tests.types.values import decimal_bytes, varint_bytes


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("boolean", "00", "false"),
        ("boolean", "01", "true"),
        ("boolean", "ff", "true"),
        ("tinyint", "80", "-128"),
        ("smallint", "7fff", "32767"),
        ("int", "80000000", "-2147483648"),
        ("bigint", "8000000000000000", "-9223372036854775808"),
        ("varint", "f827a0", "-514144"),
        ("varint", "0000000001", "1"),
        ("decimal", "0000000200", "0.00"),
        ("decimal", "fffffffd01", "1E+3"),
        ("decimal", "ffffffda6e", "1.10E+40"),
        ("decimal", "000000020a37", "26.15"),
        ("counter", "0001", "null"),
    ],
)
def test_real_values(name: str, value: str, expected: str) -> None:
    """Numbers print as in the recordings."""
    assert to_json(Scalar(name))(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("unscaled", "scale", "expected"),
    [
        (1, 30, "1E-30"),
        (-1, -7, "-1E+7"),
        (110, -38, "1.10E+40"),
        (0, 8, "0E-8"),
        (0, 6, "0.000000"),
        (1, 6, "0.000001"),
        (-123, 3, "-0.123"),
        (12, 8, "1.2E-7"),
        (-5, 0, "-5"),
        (7, 2**31 - 1, "7E-2147483647"),
        (70, -(2**31), "7.0E+2147483649"),
    ],
)
def test_decimal_layout(unscaled: int, scale: int, expected: str) -> None:
    """Scale 0 is plain, a positive one too with at most six zeros in front, all others have a signed exponent."""
    assert decimal_text(unscaled, scale) == expected


@given(st.integers(), st.integers(-100, 100))
def test_decimals_as_python_prints_them(unscaled: int, scale: int) -> None:
    """`BigDecimal.toString` and `str(Decimal)` lay out alike."""
    exact = Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))
    assert decimal_text(unscaled, scale) == str(exact)


@given(st.integers(), st.integers(-(2**31), 2**31 - 1))
def test_decoders(unscaled: int, scale: int) -> None:
    """varint and decimal give back what was serialized."""
    assert decode_varint(varint_bytes(unscaled)) == unscaled
    assert decode_decimal(decimal_bytes(unscaled, scale)) == (unscaled, scale)


@pytest.mark.parametrize("digits", [4200, 4301, 20_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_more_digits_than_python_prints(digits: int, sign: str) -> None:
    """Integers beyond Python's limit of 4300 digits print all the same."""
    number = (10**digits - 1) // 9
    assert integer_text(-number if sign else number) == sign + "1" * digits


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("boolean", b"\x00\x00", "boolean: expected 1 bytes, found 2"),
        ("tinyint", b"\x00\x00", "tinyint: expected 1 bytes, found 2"),
        ("smallint", b"\x00", "smallint: expected 2 bytes, found 1"),
        ("int", b"\x00\x00\x00", "int: expected 4 bytes, found 3"),
        ("bigint", b"\x00", "bigint: expected 8 bytes, found 1"),
        ("decimal", b"\x00\x00\x00\x00", "decimal: expected 5 or more bytes, found 4"),
    ],
)
def test_malformed(name: str, value: bytes, problem: str) -> None:
    """A wrong length is told by type, expected and found."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        to_json(Scalar(name))(value)


def test_empty_varint() -> None:
    """A varint has one byte at least."""
    with pytest.raises(ValueError, match="varint: expected 1 or more bytes, found 0"):
        decode_varint(b"")
