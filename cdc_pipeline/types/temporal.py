"""date, time, timestamp and duration; years are proleptic Gregorian."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from struct import Struct, error

from cdc_pipeline.types.registry import Printer, register
from cdc_pipeline.types.wire import read_signed_vint, wrong_length

_LONG = Struct(">q")
_DAY_MS = 86_400_000
_DAY_NS = 86_400_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal() - 1  # days from 0001-01-01 to 1970-01-01
_CYCLE_DAYS = 146_097  # of the 400 years after which the calendar repeats
_DATE_OFFSET = 2**31

_NANOSECOND_UNITS = (
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
)
_DURATION_BITS = (32, 32, 64)


def decode_duration(value: bytes) -> tuple[int, int, int]:
    """Three signed vints -> (months, days, nanoseconds)."""
    parts = []
    offset = 0
    for bits in _DURATION_BITS:
        part, size = read_signed_vint(value, offset)
        if not -(1 << bits - 1) <= part < 1 << bits - 1:
            raise ValueError(f"duration: expected a part of {bits} bits, found a wider one")
        parts.append(part)
        offset += size
    if offset != len(value):
        raise wrong_length("duration", offset, value)
    return parts[0], parts[1], parts[2]


@lru_cache(maxsize=4096)
def date_text(epoch_day: int) -> str:
    """Days since 1970-01-01 as `yyyy-MM-dd` with an astronomical year (0 is 1 BC)."""
    year, rest = _split_day(epoch_day)
    return f"{_year_text(year)}{rest}"


@lru_cache(maxsize=4096)
def date_of_era_text(epoch_day: int) -> str:
    """Like date_text, but with the year of its era and no sign of the era, as pattern letter `y` prints it."""
    year, rest = _split_day(epoch_day)
    return f"{_year_text(year if year > 0 else 1 - year)}{rest}"


def date_json(value: bytes) -> str:
    """4 unsigned bytes: days since 1970-01-01 plus 2^31."""
    if len(value) != 4:
        raise wrong_length("date", 4, value)
    return f'"{date_text(int.from_bytes(value, "big") - _DATE_OFFSET)}"'


def time_json(value: bytes) -> str:
    """8 bytes: nanoseconds since midnight, always nine digits after the seconds."""
    nanoseconds = _long("time", value)
    if not 0 <= nanoseconds < _DAY_NS:
        return f'"{_time_outside_a_day(nanoseconds)}"'
    seconds, nanoseconds = divmod(nanoseconds, 1_000_000_000)
    return f'"{_clock(seconds)}.{nanoseconds:09d}"'


def _time_outside_a_day(nanoseconds: int) -> str:
    """As `TimeSerializer.toString` prints what `blobAsTime` let in: each part its own remainder, with Java's sign."""
    sign, rest = (-1 if nanoseconds < 0 else 1), abs(nanoseconds)
    parts = []
    for base, width in ((1000, 3), (1000, 3), (1000, 3), (60, 2), (60, 2), (24, 2)):
        rest, part = divmod(rest, base)
        parts.append(_padded(sign * part, width))
    nanos, micros, millis, seconds, minutes, hours = parts
    return f"{hours}:{minutes}:{seconds}.{millis}{micros}{nanos}"


def _padded(part: int, width: int) -> str:
    """Cassandra pads by comparing with powers of ten, so a negative part gets all zeros before its sign."""
    zeros: int = sum(part < 10**power for power in range(1, width))
    return "0" * zeros + str(part)


def timestamp_json(day_text: Callable[[int], str]) -> Callable[[bytes], str]:
    """A printer of 8 bytes, milliseconds since 1970 in UTC; `day_text` prints the day."""

    def present(value: bytes) -> str:
        day, milliseconds = divmod(_long("timestamp", value), _DAY_MS)
        seconds, milliseconds = divmod(milliseconds, 1000)
        return f'"{day_text(day)} {_clock(seconds)}.{milliseconds:03d}Z"'

    return present


def duration_json(value: bytes) -> str:
    """`1y2mo25d5h6m7s8ms9us10ns`; a part that is the minimum of its width is lost, as Java has no absolute of it."""
    parts = decode_duration(value)
    negative = any(part < 0 for part in parts)
    kept = (0 if part == -(1 << bits - 1) else part for part, bits in zip(parts, _DURATION_BITS, strict=True))
    return f'"{_duration_text(negative, *kept)}"'


def exact_duration_json(value: bytes) -> str:
    """Like duration_json, but the minima are printed like other parts."""
    parts = decode_duration(value)
    return f'"{_duration_text(any(part < 0 for part in parts), *parts)}"'


def _duration_text(negative: bool, months: int, days: int, nanoseconds: int) -> str:
    years, months = divmod(abs(months), 12)
    amounts = [(years, "y"), (months, "mo"), (abs(days), "d")]
    rest = abs(nanoseconds)
    for size, unit in _NANOSECOND_UNITS:
        amount, rest = divmod(rest, size)
        amounts.append((amount, unit))
    return ("-" if negative else "") + "".join([f"{amount}{unit}" for amount, unit in amounts if amount])


def _split_day(epoch_day: int) -> tuple[int, str]:
    """Days since 1970-01-01 -> (astronomical year, `-MM-dd`)."""
    cycles, day = divmod(epoch_day + _EPOCH_DAY, _CYCLE_DAYS)
    within = date.fromordinal(day + 1)
    return within.year + 400 * cycles, within.strftime("-%m-%d")


def _year_text(year: int) -> str:
    """At least four digits, `+` above 9999, `-` below 0."""
    if year < 0:
        return f"-{-year:04d}"
    return f"{year:04d}" if year <= 9999 else f"+{year}"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def _long(name: str, value: bytes) -> int:
    try:
        number: int = _LONG.unpack(value)[0]
    except error:
        raise wrong_length(name, 8, value) from None
    return number


register("date", cassandra=Printer(date_json, nested_empty=None))
register("time", cassandra=Printer(time_json, nested_empty='"null"'))  # `TimeSerializer` prints a null Long so
register("timestamp", cassandra=Printer(timestamp_json(date_of_era_text)), destination=timestamp_json(date_text))
register(
    "DateType",
    cassandra=Printer(timestamp_json(date_of_era_text), nested_empty=None),
    destination=timestamp_json(date_text),
)
register("duration", cassandra=Printer(duration_json), destination=exact_duration_json)
