"""Multi-cell columns: a map from a path, as bytes that sort, to a cell; and how a view puts it together.

A cell is a tuple of writetime, rank, and what its element keeps, so the greatest of a path is Cassandra's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.clickhouse.names import literal
from cdc_pipeline.load.clickhouse.types.columns import EMPTY, holds_null_elements, map_types, scalar_type
from cdc_pipeline.load.clickhouse.types.scalars import ScalarType
from cdc_pipeline.types import (
    CqlType,
    ListType,
    MapType,
    Scalar,
    SetType,
    UserType,
    field_label,
    json_string,
    map_key_json,
    part_json,
    sort_key,
    to_json,
)

Marks = npt.NDArray[np.bool_]
Kept = tuple[list[pa.Array], dict[int, str]]
Keep = Callable[[pa.BinaryArray, pa.BinaryArray, Marks, int], Kept]
"""(paths, values, which cells have one, version of a rendering) -> columns, and why some do not fit."""

Fragment = Callable[[bytes, bytes], str]
"""(path, value) -> the text of one living cell."""


@dataclass(frozen=True)
class CellsType:
    """A multi-cell column: how a path sorts, what a cell keeps behind its writetime and rank, and how a view shows it.

    `assemble` is an expression over `{cells}`, the living cells as an array of (path, cell), in order.
    """

    sql: str
    path: Callable[[bytes], bytes]
    kept: tuple[tuple[str, str], ...]
    keep: Keep
    assemble: str
    null: str = "NULL"
    nullable: bool = True

    @property
    def public(self) -> str:
        """The type in the view."""
        return f"Nullable({self.sql})" if self.nullable else self.sql

    @property
    def cell(self) -> str:
        """A cell's type."""
        parts = (("w", "UInt64"), ("x", "UInt64"), *self.kept)
        return f"Tuple({', '.join(f'{name} {sql}' for name, sql in parts)})"


def cells_type(cql_type: CqlType, profile: str) -> CellsType:
    """The type of a multi-cell column."""
    if isinstance(cql_type, UserType):
        renders = [part_json(field) for field in cql_type.field_types]
        return _fields(cql_type, lambda at, raw: renders[at](raw))
    if isinstance(cql_type, MapType):
        return _map(cql_type, profile)
    assert isinstance(cql_type, ListType | SetType)
    scalar = scalar_type(cql_type.element, profile)
    if scalar is not None:
        return _array(cql_type, scalar, profile)
    render = to_json(cql_type.element, "destination")
    if isinstance(cql_type, SetType):
        return _text(cql_type, lambda path, _: render(path), "[", "]")
    return _text(cql_type, lambda _, value: render(value), "[", "]")


def masked_cells_type(cql_type: CqlType) -> CellsType:
    """A masked multi-cell column: text holding JSON of the masked parts; values and set paths come masked."""
    if isinstance(cql_type, UserType):
        return _fields(cql_type, lambda _, masked: json_string(masked.decode()))
    if isinstance(cql_type, SetType):
        return _text(cql_type, lambda path, _: json_string(path.decode()), "[", "]", path=bytes)
    if isinstance(cql_type, ListType):
        return _text(cql_type, lambda _, value: json_string(value.decode()), "[", "]")
    assert isinstance(cql_type, MapType)
    key = part_json(cql_type.key)
    pair = lambda path, value: f"{map_key_json(key(path))}: {json_string(value.decode())}"  # noqa: E731
    return _text(cql_type, pair, "{", "}")


def path_key(cql_type: CqlType) -> Callable[[bytes], bytes]:
    """How the paths of a column sort."""
    if isinstance(cql_type, ListType):
        return sort_key(Scalar("timeuuid"))
    if isinstance(cql_type, UserType):
        return bytes
    assert isinstance(cql_type, MapType | SetType)
    return sort_key(cql_type.key if isinstance(cql_type, MapType) else cql_type.element)


def _shown(scalar: ScalarType, cell: str) -> str:
    return scalar.show.format(**{name: f"tupleElement({cell}, '{name}')" for name, _ in scalar.kept})


_CELL = "tupleElement(pc, 2)"


def _array(cql_type: ListType | SetType, scalar: ScalarType, profile: str) -> CellsType:
    """An array of scalars; in profile `exact` an element of no bytes is NULL there."""
    holds_null = holds_null_elements(scalar, profile)
    from_path = isinstance(cql_type, SetType)

    def keep(path: pa.BinaryArray, value: pa.BinaryArray, live: Marks, _: int) -> Kept:
        elements = path if from_path else value
        arrays, unfit = scalar.keep(elements)
        if not scalar.holds_empty and not holds_null:
            unfit |= dict.fromkeys(np.flatnonzero(_empty(elements) & live).tolist(), EMPTY)
        return arrays, unfit

    shown = _shown(scalar, _CELL)
    if holds_null:
        shown = f"if(tupleElement({_CELL}, 'x') % 2 = 1, {shown}, NULL)"
    element = f"Nullable({scalar.sql})" if holds_null else scalar.sql
    sql = f"Array({element})"
    assemble = f"CAST(arrayMap(pc -> {shown}, {{cells}}), {literal(sql)})"
    return CellsType(sql, path_key(cql_type), scalar.kept, keep, assemble, "[]", nullable=False)


def _map(cql_type: MapType, profile: str) -> CellsType:
    types = map_types(cql_type, profile)
    if types is None:
        key, value = part_json(cql_type.key), part_json(cql_type.value)
        return _text(cql_type, lambda path, raw: f"{map_key_json(key(path))}: {value(raw)}", "{", "}")
    keys, values = types

    def keep(path: pa.BinaryArray, value: pa.BinaryArray, live: Marks, _: int) -> Kept:
        arrays, unfit = values.keep(value)
        typed = keys.typed(path)
        unfit |= typed.unfit
        for scalar, raw in ((keys, path), (values, value)):
            if not scalar.holds_empty:
                unfit |= dict.fromkeys(np.flatnonzero(_empty(raw) & live).tolist(), EMPTY)
        return [*arrays, typed.values], unfit

    sql = f"Map({keys.sql}, {values.sql})"
    pairs = (f"arrayMap(pc -> {shown}, {{cells}})" for shown in (f"tupleElement({_CELL}, 'k')", _shown(values, _CELL)))
    assemble = f"CAST(mapFromArrays({', '.join(pairs)}), {literal(sql)})"
    kept = (*values.kept, ("k", keys.sql))
    return CellsType(sql, path_key(cql_type), kept, keep, assemble, "map()", nullable=False)


def _text(
    cql_type: CqlType,
    fragment: Fragment,
    opening: str,
    closing: str,
    path: Callable[[bytes], bytes] | None = None,
) -> CellsType:
    """JSON put together of fragments."""
    joined = f"arrayStringConcat(arrayMap(pc -> tupleElement({_CELL}, 'v'), {{cells}}), ', ')"
    assemble = f"if(empty({{cells}}), NULL, concat({literal(opening)}, {joined}, {literal(closing)}))"
    assemble = assemble.replace("'{'", "'{{'").replace("'}'", "'}}'")
    return CellsType("String", path or path_key(cql_type), _FRAGMENT, _fragments(fragment), assemble)


_FRAGMENT = (("b", "String"), ("r", "UInt64"), ("v", "String"))
"""The serialized bytes, which decide; the version of the rendering, for fields may be renamed; the text."""


def _fields(cql_type: UserType, render: Callable[[int, bytes], str]) -> CellsType:
    """A user type: every field in order, null where it has no cell."""

    def fragment(path: bytes, value: bytes) -> str:
        at = int.from_bytes(path, "big")
        if at >= len(cql_type.field_types):
            raise Unfit("a field that the user type lacks")
        return render(at, value)

    fields = []
    for at, name in enumerate(cql_type.field_names):
        label = literal(("" if at == 0 else ", ") + field_label(name) + ": ").replace("{", "{{").replace("}", "}}")
        number = f"unhex('{at:04x}')"
        found = f"arrayFirst(pc -> tupleElement(pc, 1) = {number}, {{cells}})"
        has = f"arrayExists(pc -> tupleElement(pc, 1) = {number}, {{cells}})"
        fields.append(f"{label}, if({has}, tupleElement(tupleElement({found}, 2), 'v'), 'null')")
    whole = f"concat('{{{{', {', '.join(fields)}, '}}}}')"
    return CellsType("String", bytes, _FRAGMENT, _fragments(fragment), f"if(empty({{cells}}), NULL, {whole})")


def _fragments(fragment: Fragment) -> Keep:
    """Texts of living cells, one by one, those alike once."""

    def keep(path: pa.BinaryArray, value: pa.BinaryArray, live: Marks, version: int) -> Kept:
        texts: list[str] = []
        unfit: dict[int, str] = {}
        known: dict[tuple[bytes, bytes], str] = {}
        for at, (one, raw, alive) in enumerate(zip(path.to_pylist(), value.to_pylist(), live.tolist(), strict=True)):
            texts.append("")
            if not alive:
                continue
            pair = (one or b"", raw or b"")
            try:
                if pair not in known:
                    known[pair] = fragment(*pair)
                texts[at] = known[pair]
            except Unfit as error:
                unfit[at] = str(error)
            except ValueError:
                unfit[at] = "bytes that are none of the type's"
        versions = pa.array(np.full(len(path), version, np.uint64))
        return [value.fill_null(b""), versions, pa.array(texts, pa.string())], unfit

    return keep


def _empty(array: pa.BinaryArray) -> Any:
    """Which values have no bytes."""
    lengths = pc.binary_length(array).fill_null(0)
    return lengths.to_numpy(zero_copy_only=False) == 0
