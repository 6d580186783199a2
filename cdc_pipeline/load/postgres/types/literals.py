"""Scalars as the texts that PostgreSQL reads: elements of arrays that are put together in a view."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable

from cdc_pipeline.load.postgres.types.mapping import ScalarType
from cdc_pipeline.load.postgres.types.scalars import days
from cdc_pipeline.types import Scalar, decode_duration, to_json

_MILLIS_OF_DAY = 86_400_000
_DAYS_OF_ERA, _YEARS_OF_ERA = 146_097, 400


def element_literal(name: str, scalar: ScalarType) -> Callable[[bytes], str]:
    """A function from an element's bytes to its text; `Unfit` as the binary encoder, None-free: empty stays out."""
    if scalar.sql == "text":
        return lambda raw: scalar.encode(raw).decode()
    special = _SPECIAL.get((name, scalar.sql))
    render = special if special is not None else _json_unquoted(name)

    def literal(raw: bytes) -> str:
        scalar.encode(raw)
        return render(raw)

    return literal


def _json_unquoted(name: str) -> Callable[[bytes], str]:
    render = to_json(Scalar(name), "destination")
    return lambda raw: render(raw).strip('"')


def _bytea(raw: bytes) -> str:
    return "\\x" + raw.hex()


def _date(raw: bytes) -> str:
    return _calendar(days(raw), "")


def _timestamp(raw: bytes) -> str:
    day, millis = divmod(struct.unpack(">q", raw)[0], _MILLIS_OF_DAY)
    seconds, millis = divmod(millis, 1000)
    clock = f" {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}+00"
    return _calendar(day, clock)


def _calendar(day: int, clock: str) -> str:
    """A proleptic Gregorian date of any year (days from civil, inverted), with PostgreSQL's BC behind."""
    shifted = day + 719_468
    era, day_of_era = divmod(shifted, _DAYS_OF_ERA)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_shifted = (5 * day_of_year + 2) // 153
    month = month_shifted + 3 if month_shifted < 10 else month_shifted - 9
    year = year_of_era + era * _YEARS_OF_ERA + (month <= 2)
    shown, era_text = (year, "") if year > 0 else (1 - year, " BC")
    return f"{shown:04}-{month:02}-{day_of_year - (153 * month_shifted + 2) // 5 + 1:02}{clock}{era_text}"


def _interval(raw: bytes) -> str:
    """Every part with its sign: under the IntervalStyle `sql_standard` a leading minus is meant for all of them."""
    months, day_count, nanos = decode_duration(raw)
    sign = "-" if nanos < 0 else "+"
    seconds, micros = divmod(abs(nanos) // 1000, 1_000_000)
    clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"
    return f"{months:+} mons {day_count:+} days {sign}{clock}"


def _number(layout: str) -> Callable[[bytes], str]:
    return lambda raw: str(struct.unpack(layout, raw)[0])


_SPECIAL: dict[tuple[str, str], Callable[[bytes], str]] = {
    ("blob", "bytea"): _bytea,
    ("date", "date"): _date,
    ("date", "integer"): lambda raw: str(days(raw)),
    ("timestamp", "timestamp with time zone"): _timestamp,
    ("timestamp", "bigint"): _number(">q"),
    ("time", "bigint"): _number(">q"),
    ("duration", "interval"): _interval,
    ("inet", "inet"): lambda raw: str(ipaddress.ip_address(raw)),  # JSON prints an IPv4-mapped address as IPv4
}
