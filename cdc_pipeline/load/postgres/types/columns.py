"""What a CQL column becomes: one value, or the cells of a multi-cell column that a view puts together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.types import scalars
from cdc_pipeline.load.postgres.types.at_once import AtOnce
from cdc_pipeline.load.postgres.types.literals import element_literal
from cdc_pipeline.load.postgres.types.mapping import BYTEA, PROFILES, TEXT, UUID, ScalarType
from cdc_pipeline.load.postgres.types.nested import array_encoder, check_jsonb, json_text
from cdc_pipeline.transform.counters import count_of, shards
from cdc_pipeline.types import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Scalar,
    SetType,
    UserType,
    VectorType,
    decode_decimal,
    decode_varint,
    field_label,
    holds,
    json_string,
    map_key_json,
    part_json,
    sort_key,
    to_json,
)

Fragment = Callable[[bytes, bytes], str | None]
"""(path, value) -> the text of one live cell, None for a NULL element."""

_NUMERIC_OVERRIDE = re.compile(r"numeric\((\d+)(?:\s*,\s*(\d+))?\)")
_OVERRIDES = "text, bytea, numeric(p,s)"


@dataclass(frozen=True, slots=True)
class ValueType:
    """A column of one value: SQL type, encoder into a binary field, tie expression (None = bytes beside), and one
    for whole columns."""

    sql: str
    encode: Callable[[bytes], bytes]
    tie: str | None
    empty_is_null: bool = True
    at_once: AtOnce | None = None


@dataclass(frozen=True, slots=True)
class CellsType:
    """A multi-cell column: the view's SQL type, how a path sorts, a cell's text, and the view's expression.

    `assemble` makes the value of `{cells}`, `{floor}` (deletions at or below it hide a cell), which is the greater of
    `{row}` (the row's) and `{deleted}` (the column's), and `{now}`; `merge` is the function that merges two of them.
    """

    sql: str
    path: Callable[[bytes], bytes]
    fragment: Fragment
    assemble: str
    merge: str = "cdc.merge_cells"


def value_type(cql_type: CqlType, profile: str, override: str | None = None) -> ValueType:
    """The type of a column whose value is one cell."""
    if override is not None:
        return _overridden(cql_type, override)
    scalar = scalar_type(cql_type, profile)
    if scalar is not None:
        return _of_scalar(scalar)
    if isinstance(cql_type, ListType | SetType | VectorType):
        element = scalar_type(cql_type.element, profile)
        if element is not None:
            return ValueType(f"{element.sql}[]", array_encoder(cql_type, element), None)
    if profile == "native":
        render = json_text(cql_type, as_jsonb=True)
        return ValueType("jsonb", lambda raw: b"\x01" + render(raw).encode(), None)
    plain = json_text(cql_type, as_jsonb=False)
    return ValueType("text", lambda raw: plain(raw).encode(), None)


MASKED = ValueType("text", scalars.text, TEXT.tie, empty_is_null=False, at_once=TEXT.at_once)
"""A masked column: the mask's text."""


def scalar_type(cql_type: CqlType, profile: str) -> ScalarType | None:
    """The scalar of a type, or None when it has parts."""
    if isinstance(cql_type, Scalar):
        return PROFILES[profile][cql_type.name]
    if isinstance(cql_type, CustomType):
        return UUID if cql_type.short_name == "LexicalUUIDType" else BYTEA
    return None


def cells_type(cql_type: CqlType, profile: str) -> CellsType:
    """The type of a multi-cell column."""
    if isinstance(cql_type, ListType):
        return _sequence(cql_type.element, sort_key(Scalar("timeuuid")), profile, from_path=False)
    if isinstance(cql_type, SetType):
        return _sequence(cql_type.element, sort_key(cql_type.element), profile, from_path=True)
    cast = "::jsonb" if profile == "native" else ""
    sql = "jsonb" if profile == "native" else "text"
    if isinstance(cql_type, MapType):
        assemble = "cdc.cells_text({cells}, {floor}, {now}, '{{', '}}')" + cast
        return CellsType(sql, sort_key(cql_type.key), _map_fragment(cql_type, profile), assemble)
    assert isinstance(cql_type, UserType)
    names = ", ".join("'" + field_label(name).replace("'", "''") + "'" for name in cql_type.field_names)
    names = names.replace("{", "{{").replace("}", "}}")
    assemble = f"cdc.cells_fields({{cells}}, {{floor}}, {{now}}, ARRAY[{names}]::text[])" + cast
    return CellsType(sql, bytes, _field_fragment(cql_type, profile), assemble)


def _shard_path(path: bytes) -> bytes:
    return path


def _shard_count(path: bytes, context: bytes) -> str:
    """The count of a shard; a cell without one is a context that nobody can read."""
    if path:
        return str(count_of(path))
    try:
        shards(context)
    except ValueError as error:
        raise Unfit(str(error)) from None
    raise Unfit("expected a counter that lives for ever, found one that expires")


COUNTER = CellsType(
    "bigint", _shard_path, _shard_count, "cdc.counter_sum({cells}, {deleted}, {row})", merge="cdc.merge_shards"
)
"""A counter: its shards, added up by the view."""


MASKED_KINDS = {
    ListType: "cdc.cells_text({cells}, {floor}, {now}, '[', ']')",
    SetType: "cdc.cells_text({cells}, {floor}, {now}, '[', ']')",
    MapType: "cdc.cells_text({cells}, {floor}, {now}, '{{', '}}')",
}


def masked_cells_type(cql_type: CqlType) -> CellsType:
    """A masked multi-cell column: text holding JSON of the masked parts; values and set paths come masked."""
    if isinstance(cql_type, ListType):
        return CellsType(
            "text", sort_key(Scalar("timeuuid")), lambda _, value: json_string(value.decode()), MASKED_KINDS[ListType]
        )
    if isinstance(cql_type, SetType):
        return CellsType("text", bytes, lambda path, _: json_string(path.decode()), MASKED_KINDS[SetType])
    if isinstance(cql_type, MapType):
        key = part_json(cql_type.key)
        return CellsType(
            "text",
            sort_key(cql_type.key),
            lambda path, value: f"{map_key_json(key(path))}: {json_string(value.decode())}",
            MASKED_KINDS[MapType],
        )
    plain = cells_type(cql_type, "exact")
    return CellsType("text", plain.path, lambda _, value: json_string(value.decode()), plain.assemble)


def _sequence(element: CqlType, path: Callable[[bytes], bytes], profile: str, *, from_path: bool) -> CellsType:
    scalar = scalar_type(element, profile)
    if scalar is not None:
        name = element.name if isinstance(element, Scalar) else ("uuid" if scalar is UUID else "blob")
        render: Callable[[bytes], str | None] = _or_null(element_literal(name, scalar), scalar)
        assemble = f"cdc.cells_array({{cells}}, {{floor}}, {{now}})::{scalar.sql}[]"
        sql = f"{scalar.sql}[]"
    else:
        render = json_text(element, as_jsonb=profile == "native")
        cast = "::jsonb" if profile == "native" else ""
        assemble = "cdc.cells_text({cells}, {floor}, {now}, '[', ']')" + cast
        sql = "jsonb" if profile == "native" else "text"
    if from_path:
        return CellsType(sql, path, lambda key, _: render(key), assemble)
    return CellsType(sql, path, lambda _, value: render(value), assemble)


def _or_null(render: Callable[[bytes], str], scalar: ScalarType) -> Callable[[bytes], str | None]:
    if scalar.holds_empty:
        return render
    return lambda raw: render(raw) if raw else None


def _map_fragment(cql_type: MapType, profile: str) -> Fragment:
    key, value = part_json(cql_type.key), part_json(cql_type.value)
    numbers = holds(cql_type, "decimal", "varint")

    def fragment(path: bytes, raw: bytes) -> str:
        text = f"{map_key_json(key(path))}: {value(raw)}"
        if profile == "native":
            check_jsonb(f"{{{text}}}", numbers=numbers)
        return text

    return fragment


def _field_fragment(cql_type: UserType, profile: str) -> Fragment:
    renders = [part_json(field) for field in cql_type.field_types]
    numbers = [holds(field, "decimal", "varint") for field in cql_type.field_types]

    def fragment(path: bytes, raw: bytes) -> str:
        index = int.from_bytes(path, "big")
        if index >= len(renders):
            raise Unfit("a field that the user type lacks")
        text = renders[index](raw)
        if profile == "native":
            check_jsonb(text, numbers=numbers[index])
        return text

    return fragment


def _of_scalar(scalar: ScalarType) -> ValueType:
    return ValueType(scalar.sql, scalar.encode, scalar.tie, not scalar.holds_empty, scalar.at_once)


def _overridden(cql_type: CqlType, override: str) -> ValueType:
    if override == "bytea":
        return _of_scalar(BYTEA)
    if override == "text":
        exact = value_type(cql_type, "exact")
        if exact.sql == "text":
            return exact
        render = to_json(cql_type, "destination")
        return ValueType("text", lambda raw: scalars.text(render(raw).strip('"').encode()), None)
    found = _NUMERIC_OVERRIDE.fullmatch(override)
    if found is None or not isinstance(cql_type, Scalar) or cql_type.name not in ("decimal", "varint"):
        raise ConfigurationError(f"expected {_OVERRIDES} (of decimal or varint) for {cql_type.cql}, found {override}")
    precision, scale = int(found[1]), int(found[2] or 0)
    decode = decode_decimal if cql_type.name == "decimal" else (lambda raw: (decode_varint(raw), 0))

    def encode(raw: bytes) -> bytes:
        unscaled, digits_after = decode(raw)
        if not unscaled:
            return scalars.numeric(0, scale)
        while digits_after > scale and unscaled % 10 == 0:
            unscaled, digits_after = unscaled // 10, digits_after - 1
        if digits_after > scale or abs(unscaled) * 10 ** (scale - max(digits_after, -400)) >= 10**precision:
            raise Unfit(f"more than {precision - scale} integer or {scale} fraction digits")
        return scalars.numeric(unscaled * 10 ** (scale - digits_after), scale)

    return ValueType(f"numeric({precision},{scale})", encode, None)
