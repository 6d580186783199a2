"""float and double as Java 19 and later print them: the fewest digits that read back as the same value."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context
from decimal import Decimal as Exact
from fractions import Fraction
from functools import lru_cache
from struct import Struct, error

from cdc_pipeline.types.registry import Printer, register
from cdc_pipeline.types.wire import wrong_length

_LEAST_NORMAL = 2.0**-126  # of 32 bits
_LEAST_HALF_GAP = 2.0**-150
_TINY = 1e-300  # above it a shortest form of one digit is exact to the second digit too


def double_text(number: float) -> str:
    """`Double.toString` of a finite number: plain from 10^-3 to below 10^7, else with an exponent."""
    if 1e-3 <= abs(number) < 1e7 or number == 0:
        return repr(number)
    text = repr(number) if abs(number) >= _TINY else _at_least_two_digits(number)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return _scientific(mantissa)
    return f"{mantissa}{'' if '.' in mantissa else '.0'}E{int(exponent)}"


def float_text(number: float) -> str:
    """`Float.toString` of a finite number that 32 bits hold."""
    return double_text(shortest_float32(number)) if number else repr(number)


def shortest_float32(number: float) -> float:
    """The double whose `repr` has the fewest digits that read back as `number` (finite, not 0) at 32 bits.

    Six digits always tell apart what six digits can tell apart, so the search starts there; below the least normal
    number it starts at two, the least that Java prints.
    """
    magnitude = abs(number)
    if magnitude > _LEAST_NORMAL and math.frexp(magnitude)[0] == 0.5:
        return math.copysign(_shortest_power_of_two(magnitude), number)
    half_gap = max(math.ulp(magnitude) * 2.0**28, _LEAST_HALF_GAP)
    for digits in range(6 if magnitude >= _LEAST_NORMAL else 2, 9):
        text = f"{number:.{digits}g}"
        near = float(text)
        distance = abs(near - number)
        if distance < half_gap or (distance == half_gap and _rounds_back(text, number, half_gap)):
            return near
    return float(f"{number:.9g}")


def _rounds_back(text: str, number: float, half_gap: float) -> bool:
    """Whether a decimal whose double lies half way to a neighbour reads back as `number`: by exact arithmetic."""
    distance = abs(Fraction(text) - Fraction(number))
    even = int(abs(number) / (2 * half_gap)) % 2 == 0
    return distance < half_gap or (distance == half_gap and even)


@lru_cache(maxsize=256)
def _shortest_power_of_two(number: float) -> float:
    """Below a power of two the gap is half of that above, so the nearest decimal may miss where the next one fits."""
    half_gap = Fraction(math.ulp(number) * 2.0**28)
    low, high = Fraction(number) - half_gap / 2, Fraction(number) + half_gap
    candidates = (
        Context(prec=digits, rounding=rounding).create_decimal(Exact(number))
        for digits in range(1, 10)
        for rounding in (ROUND_HALF_EVEN, ROUND_CEILING)
    )
    return next(float(candidate) for candidate in candidates if low <= Fraction(candidate) <= high)


def _at_least_two_digits(number: float) -> str:
    text = repr(number)
    return text if "." in text else f"{number:.1e}"


def _scientific(plain: str) -> str:
    """`12345678.0` as `1.2345678E7`, `0.00012` as `1.2E-4`."""
    sign, plain = ("-", plain[1:]) if plain[0] == "-" else ("", plain)
    whole, _, fraction = plain.partition(".")
    digits = (whole + fraction).strip("0")
    exponent = len(whole) - 1 if whole != "0" else -1 - (len(fraction) - len(fraction.lstrip("0")))
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _nonfinite_null(number: float) -> str:
    return "null"


def _nonfinite_string(number: float) -> str:
    if number != number:
        return '"NaN"'
    return '"Infinity"' if number > 0 else '"-Infinity"'


def _json(
    name: str, layout: str, finite: Callable[[float], str], nonfinite: Callable[[float], str]
) -> Callable[[bytes], str]:
    packed = Struct(layout)

    def present(value: bytes) -> str:
        try:
            number: float = packed.unpack(value)[0]
        except error:
            raise wrong_length(name, packed.size, value) from None
        return finite(number) if math.isfinite(number) else nonfinite(number)

    return present


register(
    "float",
    cassandra=Printer(_json("float", ">f", float_text, _nonfinite_null)),
    destination=_json("float", ">f", float_text, _nonfinite_string),
)
register(
    "double",
    cassandra=Printer(_json("double", ">d", double_text, _nonfinite_null)),
    destination=_json("double", ">d", double_text, _nonfinite_string),
)
