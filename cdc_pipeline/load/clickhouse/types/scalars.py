"""CQL scalars as ClickHouse columns: whole Arrow columns of Cassandra's bytes in, Arrow columns of typed values out.

Two forms of each. `typed` is the value itself, as keys and the elements of arrays hold it. A cell holds it as something
that sorts like Cassandra's serialized bytes, unsigned, so that the greatest tuple is the one that Cassandra chooses: an
unsigned number of the same bits, or the bytes; where the value cannot be made of these again, it lies beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.load.arrays import Unfit, content

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Typed:
    """A value per row, null where a row has none; `unfit` says of rows why theirs has no exact form."""

    values: pa.Array
    unfit: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScalarType:
    """A ClickHouse type of a CQL scalar.

    `kept` (name, type) is what a cell holds of it; `keep` makes these columns, without nulls; `show` is the expression
    of the value, over `{b}` and `{v}`. `holds_empty`: zero bytes are a value of it; of all others they are NULL.
    """

    sql: str
    typed: Callable[[pa.BinaryArray], Typed]
    kept: tuple[tuple[str, str], ...]
    keep: Callable[[pa.BinaryArray], tuple[list[pa.Array], dict[int, str]]]
    show: str
    holds_empty: bool = False


def number(
    layout: str, sql: str, show: str, convert: Callable[[Numbers], pa.Array], check: _Check = None
) -> ScalarType:
    """A type of so many big-endian bytes as numpy reads them (`>i4`); kept as the unsigned number of the same bits.

    `convert` makes the Arrow column of the numbers; `check` marks those that have no place, and says why.
    """
    dtype = np.dtype(layout)
    unsigned = np.dtype(f">u{dtype.itemsize}")

    def read(array: pa.BinaryArray) -> tuple[Numbers, npt.NDArray[np.bool_], dict[int, str]]:
        raw, there, unfit = fixed(array, dtype.itemsize)
        numbers = raw.view(dtype).reshape(-1)
        if check is not None and len(numbers):
            marks, why = check(numbers)
            unfit |= dict.fromkeys(np.flatnonzero(marks & there).tolist(), why)
        return numbers, there, unfit

    def typed(array: pa.BinaryArray) -> Typed:
        numbers, there, unfit = read(array)
        return Typed(_masked(convert(numbers), there), unfit)

    def keep(array: pa.BinaryArray) -> tuple[list[pa.Array], dict[int, str]]:
        numbers, _, unfit = read(array)
        native = numbers.view(unsigned).astype(unsigned.newbyteorder("="))
        return [pa.array(native)], unfit

    return ScalarType(sql, typed, (("b", f"UInt{dtype.itemsize * 8}"),), keep, show)


_Check = Callable[[Numbers], tuple[npt.NDArray[np.bool_], str]] | None


def within(least: int, most: int, why: str) -> Callable[[Numbers], tuple[npt.NDArray[np.bool_], str]]:
    """A check that numbers lie between two, both included. ClickHouse itself would clamp them, and say nothing."""
    return lambda numbers: ((numbers < least) | (numbers > most), why)


def plain(sql: str) -> ScalarType:
    """Bytes as they are."""
    return ScalarType(
        sql, Typed, (("b", "String"),), lambda array: ([_without_nulls(array)], {}), "{b}", holds_empty=True
    )


def sixteen(sql: str) -> ScalarType:
    """Sixteen bytes: a UUID, whose halves ClickHouse holds with their bytes turned."""

    def read(array: pa.BinaryArray) -> tuple[pa.Array, npt.NDArray[np.bool_], dict[int, str]]:
        raw, there, unfit = fixed(array, 16)
        values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(array), [None, pa.py_buffer(raw.tobytes())])
        return values, there, unfit

    def typed(array: pa.BinaryArray) -> Typed:
        values, there, unfit = read(array)
        return Typed(_masked(values, there), unfit)

    def keep(array: pa.BinaryArray) -> tuple[list[pa.Array], dict[int, str]]:
        values, _, unfit = read(array)
        return [values], unfit

    show = "reinterpret(concat(reverse(substring({b}, 1, 8)), reverse(substring({b}, 9, 8))), 'UUID')"
    return ScalarType(sql, typed, (("b", "FixedString(16)"),), keep, show)


def beside(sql: str, arrow: pa.DataType, convert: Callable[[bytes], Any]) -> ScalarType:
    """A type whose value is made one by one, each distinct one once, and lies beside the bytes."""

    def typed(array: pa.BinaryArray) -> Typed:
        return one_by_one(array, arrow, convert)

    return ScalarType(sql, typed, (("b", "String"), ("v", sql)), keep_beside(typed), "{v}")


def from_bytes(sql: str, arrow: pa.DataType, convert: Callable[[bytes], Any], show: str) -> ScalarType:
    """A type whose value is made one by one, and that a view makes of the bytes again."""

    def typed(array: pa.BinaryArray) -> Typed:
        return one_by_one(array, arrow, convert)

    def keep(array: pa.BinaryArray) -> tuple[list[pa.Array], dict[int, str]]:
        return [_without_nulls(array)], typed(array).unfit

    return ScalarType(sql, typed, (("b", "String"),), keep, show)


def keep_beside(
    typed: Callable[[pa.BinaryArray], Typed],
) -> Callable[[pa.BinaryArray], tuple[list[pa.Array], dict[int, str]]]:
    """Bytes and values; a row without a value has ClickHouse's default."""

    def keep(array: pa.BinaryArray) -> tuple[list[pa.Array], dict[int, str]]:
        found = typed(array)
        return [_without_nulls(array), found.values], found.unfit

    return keep


def one_by_one(array: pa.BinaryArray, arrow: pa.DataType, convert: Callable[[bytes], Any]) -> Typed:
    """Each distinct value once; empty and null ones are null."""
    encoded = array.dictionary_encode()
    values: list[Any] = []
    unfit: dict[int, str] = {}
    for at, raw in enumerate(encoded.dictionary.to_pylist()):
        values.append(None)
        if not raw:
            continue
        try:
            values[-1] = convert(raw)
        except Unfit as error:
            unfit[at] = str(error)
        except ValueError:
            unfit[at] = "bytes that are none of the type's"
    rows = {}
    if unfit:
        codes = enumerate(encoded.indices.to_pylist())
        rows = {row: unfit[code] for row, code in codes if code in unfit}
    return Typed(pa.array(values, arrow).take(encoded.indices), rows)


def fixed(array: pa.BinaryArray, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], dict[int, str]]:
    """(n x size bytes, zeros where there is no value; which have one; why others do not fit) of values of one size."""
    data, ends = content(array)
    lengths = np.diff(ends)
    there = lengths == size
    if there.all():
        return np.ascontiguousarray(data).reshape(-1, size), there, {}
    raw = np.zeros((len(array), size), np.uint8)
    raw[there] = content(array.filter(pa.array(there)))[0].reshape(-1, size)
    wrong = np.flatnonzero(~there & (lengths > 0)).tolist()
    return raw, there, {at: f"{size} bytes expected, found {lengths[at]}" for at in wrong}


def _masked(values: pa.Array, there: npt.NDArray[np.bool_]) -> pa.Array:
    if there.all():
        return values
    return values.take(pa.array(np.where(there, np.arange(len(there)), 0), mask=~there)) if len(there) else values


def _without_nulls(array: pa.BinaryArray) -> pa.BinaryArray:
    return array.fill_null(b"") if array.null_count else array


_EXACT = Context(prec=76)


def decimal_of(precision: int, scale: int, unscaled: int, digits: int) -> Decimal:
    """`unscaled` x 10^-`digits` as a `Decimal(precision, scale)`; never rounded."""
    integers = precision - scale
    why = f"more than {integers} integer or {scale} fraction digits"
    if unscaled == 0:
        return Decimal(0)
    if -digits > precision or digits > 100_000 or unscaled.bit_length() > 4 * (precision + max(digits, 0)):
        raise Unfit(why)
    while digits > scale and unscaled % 10 == 0:
        unscaled, digits = unscaled // 10, digits - 1
    if digits > scale or digits <= -integers or abs(unscaled) >= 10 ** (integers + digits):
        raise Unfit(why)
    return Decimal(unscaled).scaleb(-digits, _EXACT)
