"""What a CQL column becomes: one value, or the cells of a multi-cell column that a view puts together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.clickhouse.types.mapping import PROFILES, STRING, UUID
from cdc_pipeline.load.clickhouse.types.scalars import (
    ScalarType,
    Typed,
    beside,
    decimal_of,
    keep_beside,
)
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
    inside,
    split_collection,
    to_json,
)

Longs = npt.NDArray[np.int64]

_DECIMAL = re.compile(r"Decimal\((\d+)\s*,\s*(\d+)\)")
_OVERRIDES = "String or Decimal(P, S)"


@dataclass(frozen=True)
class ValueType:
    """A column of one value: its ClickHouse type, what a cell holds of it, and the expression that shows it.

    `null` is the expression of no value; `nullable`: the view's type is `Nullable`. `renders`: what is shown holds the
    names of a user type's fields, so a rendering has a version, `r`, and the later one wins.
    """

    sql: str
    scalar: ScalarType
    null: str = "NULL"
    nullable: bool = True
    renders: bool = False

    @property
    def public(self) -> str:
        """The type in the view."""
        return f"Nullable({self.sql})" if self.nullable else self.sql

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        """(name, type) of what a cell holds behind its writetime and rank."""
        kept = self.scalar.kept
        return (kept[0], ("r", "UInt64"), *kept[1:]) if self.renders else kept

    def keep(self, array: pa.BinaryArray, version: int) -> tuple[list[pa.Array], dict[int, str]]:
        """The columns of `kept`, and why rows do not fit."""
        arrays, unfit = self.scalar.keep(array)
        if self.renders:
            arrays.insert(1, pa.array(np.full(len(array), version, np.uint64)))
        return arrays, unfit

    def show(self, cell: str) -> str:
        """The value of a cell that has one."""
        return self.scalar.show.format(**{name: f"tupleElement({cell}, '{name}')" for name, _ in self.kept})


def value_type(cql_type: CqlType, profile: str, override: str | None = None) -> ValueType:
    """The type of a column whose value is one cell."""
    if override is not None:
        return _overridden(cql_type, override)
    scalar = scalar_type(cql_type, profile)
    if scalar is not None:
        return _of_scalar(scalar)
    if profile == "native":
        shape = _array_of(cql_type, profile) or _map_of(cql_type)
        if shape is not None:
            return shape
    return _json(cql_type)


MASKED = ValueType("String", STRING)
"""A masked column: the mask's text."""


def _of_scalar(scalar: ScalarType) -> ValueType:
    if scalar.sql.startswith("Tuple("):  # Nullable(Tuple) does not exist
        return ValueType(scalar.sql, scalar, f"CAST((NULL, NULL, NULL), '{scalar.sql}')", nullable=False)
    return ValueType(scalar.sql, scalar)


def scalar_type(cql_type: CqlType, profile: str) -> ScalarType | None:
    """The scalar of a type, or None when it has parts."""
    if isinstance(cql_type, Scalar):
        return PROFILES[profile][cql_type.name]
    if isinstance(cql_type, CustomType):
        return UUID if cql_type.short_name == "LexicalUUIDType" else STRING
    return None


def as_one_value(cql_type: CqlType, profile: str) -> ValueType:
    """What a multi-cell column is shown as, of one value that holds all of its elements."""
    return _array_of(cql_type, profile) or (_map_of(cql_type) if profile == "native" else None) or _json(cql_type)


def _array_of(cql_type: CqlType, profile: str) -> ValueType | None:
    """A list or set, or a vector, of scalars."""
    if not isinstance(cql_type, ListType | SetType | VectorType):
        return None
    element = scalar_type(cql_type.element, profile)
    if element is None:
        return None
    holds_null = holds_null_elements(element, profile)
    sql = f"Array({f'Nullable({element.sql})' if holds_null else element.sql})"

    def typed(array: pa.BinaryArray) -> Typed:
        ends, parts, unfit = _split(cql_type, array)
        items = _elements(element, parts, ends, unfit, holds_null)
        return Typed(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items), unfit)

    scalar = ScalarType(sql, typed, (("b", "String"), ("v", sql)), keep_beside(typed), "{v}")
    return ValueType(sql, scalar, "[]", nullable=False)


def _map_of(cql_type: CqlType) -> ValueType | None:
    """A frozen map of scalars."""
    types = map_types(cql_type, "native")
    if types is None:
        return None
    key, value = types
    sql = f"Map({key.sql}, {value.sql})"

    def typed(array: pa.BinaryArray) -> Typed:
        ends, parts, unfit = _split(cql_type, array)
        keys = _elements(key, parts[::2], ends // 2, unfit)
        items = _elements(value, parts[1::2], ends // 2, unfit)
        return Typed(pa.MapArray.from_arrays(pa.array(ends // 2, pa.int32()), keys, items), unfit)

    scalar = ScalarType(sql, typed, (("b", "String"), ("v", sql)), keep_beside(typed), "{v}")
    return ValueType(sql, scalar, "map()", nullable=False)


def map_types(cql_type: CqlType, profile: str) -> tuple[ScalarType, ScalarType] | None:
    """The scalars of a map that becomes a `Map`; None for any other type."""
    if not isinstance(cql_type, MapType) or profile != "native":
        return None
    key, value = scalar_type(cql_type.key, profile), scalar_type(cql_type.value, profile)
    return None if key is None or value is None else (key, value)


def _split(cql_type: CqlType, array: pa.BinaryArray) -> tuple[Longs, list[bytes | None], dict[int, str]]:
    """(where the parts of each row end, from 0; all parts; why rows do not fit)."""
    ends = np.zeros(len(array) + 1, np.int64)
    parts: list[bytes | None] = []
    unfit: dict[int, str] = {}
    for row, raw in enumerate(array.to_pylist()):
        if raw:
            try:
                parts += split_collection(cql_type, raw)
            except ValueError:
                unfit[row] = "bytes that are none of the type's"
        ends[row + 1] = len(parts)
    return ends, parts, unfit


def holds_null_elements(element: ScalarType, profile: str) -> bool:
    """Whether an element of no bytes is NULL in an array."""
    return profile == "exact" and not element.holds_empty


def _elements(
    scalar: ScalarType, parts: list[bytes | None], ends: Longs, unfit: dict[int, str], holds_null: bool = False
) -> pa.Array:
    """Typed elements; why they do not fit is said of their rows."""
    raw = pa.array(parts, pa.binary())
    found = scalar.typed(raw)
    why = dict(found.unfit)
    if not holds_null:
        why |= {at: EMPTY for at, part in enumerate(parts) if part is None or (not part and not scalar.holds_empty)}
    for at in why:
        unfit[int(np.searchsorted(ends, at, "right")) - 1] = why[at]
    return found.values


EMPTY = "an empty element, which an Array or a Map has no place for"


def _json(cql_type: CqlType) -> ValueType:
    """Everything else as Cassandra's JSON."""
    render = to_json(cql_type, "destination")
    return ValueType("String", beside("String", pa.string(), render), renders=holds_user_type(cql_type))


def holds_user_type(cql_type: CqlType) -> bool:
    """Whether a type is, or has inside, a user type, whose fields may be renamed."""
    return any(isinstance(one, UserType) for one in inside(cql_type))


def _overridden(cql_type: CqlType, override: str) -> ValueType:
    if override == "String":
        exact = value_type(cql_type, "exact")
        if exact.sql == "String":
            return exact
        render = to_json(cql_type, "destination")
        return _of_scalar(beside("String", pa.string(), lambda raw: render(raw).strip('"')))
    found = _DECIMAL.fullmatch(override)
    if found is None or cql_type not in (Scalar("decimal"), Scalar("varint")) or not int(found[1]) <= 76:
        raise ConfigurationError(f"expected {_OVERRIDES} (of decimal or varint) for {cql_type.cql}, found {override}")
    precision, scale = int(found[1]), int(found[2])
    convert: Callable[[bytes], tuple[int, int]]
    convert = decode_decimal if cql_type == Scalar("decimal") else (lambda raw: (decode_varint(raw), 0))
    sql, arrow = f"Decimal({precision}, {scale})", pa.decimal256(precision, scale)
    return _of_scalar(beside(sql, arrow, lambda raw: decimal_of(precision, scale, *convert(raw))))
