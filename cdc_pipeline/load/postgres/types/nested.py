"""Values of more than one part: arrays of scalars, JSON of everything else, and the cells of multi-cell columns."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from decimal import Decimal

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.types.mapping import ScalarType
from cdc_pipeline.types import CqlType, MapType, holds, inside, split_collection, to_json

_LARGEST_DIGITS = 131_072
_LARGEST_SCALE = 16_383
_HEAD = struct.Struct(">iii")
_DIMENSION = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")


def array_encoder(cql_type: CqlType, element: ScalarType) -> Callable[[bytes], bytes]:
    """A frozen list, set or vector of scalars as a one-dimensional array (`array_send`); null and empty are NULL."""

    def encode(raw: bytes) -> bytes:
        items = [item if item or element.holds_empty else None for item in split_collection(cql_type, raw)]
        if not items:
            return _HEAD.pack(0, 0, element.oid)
        parts = [_HEAD.pack(1, int(None in items), element.oid), _DIMENSION.pack(len(items), 1)]
        for item in items:
            if item is None:
                parts.append(_LENGTH.pack(-1))
            else:
                field = element.encode(item)
                parts += [_LENGTH.pack(len(field)), field]
        return b"".join(parts)

    return encode


def json_text(cql_type: CqlType, *, as_jsonb: bool) -> Callable[[bytes], str]:
    """The JSON text of a value; with `as_jsonb` refuses what `jsonb` cannot hold."""
    render = to_json(cql_type, "destination")
    if not as_jsonb:
        return render
    numbers = holds(cql_type, "decimal", "varint")
    maps = any(isinstance(one, MapType) for one in inside(cql_type))

    def checked(raw: bytes) -> str:
        text = render(raw)
        check_jsonb(text, numbers=numbers)
        if maps:
            json.loads(text, object_pairs_hook=_different_keys, parse_int=str, parse_float=str)
        return text

    return checked


def check_jsonb(text: str, *, numbers: bool) -> None:
    """Raises `Unfit` for JSON that `jsonb` refuses or rounds: U+0000, numbers beyond `numeric`."""
    if "\\u0000" in text and _has_nul(json.loads(text, parse_int=str, parse_float=str)):
        raise Unfit("U+0000 inside a text")
    if numbers:
        json.loads(text, parse_float=_check_number, parse_int=_check_number)


def _different_keys(pairs: list[tuple[str, object]]) -> None:
    """`jsonb` keeps one of two equal keys; distinct map keys can print alike, as 1.2.3.4 and ::ffff:1.2.3.4."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise Unfit("two map keys that print alike")


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


def _check_number(text: str) -> None:
    _, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    if -exponent > _LARGEST_SCALE or len(digits) + exponent > _LARGEST_DIGITS:
        raise Unfit("a number beyond numeric")
