"""Sort bytes and order of many rows at once: `ordering.py`'s rule over Arrow columns.

Most types are done without an object per value; those whose keys take more are done once per distinct value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.types import keys_cy
from cdc_pipeline.types.model import CqlType, CustomType, Scalar
from cdc_pipeline.types.ordering import clustering_key
from cdc_pipeline.types.sortkeys import CUSTOM_KEYS, UNBOUNDED

Longs = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]

_SIMPLE = {
    **dict.fromkeys(UNBOUNDED, (keys_cy.ESCAPED, 0)),
    "boolean": (keys_cy.BOOLEAN, 1),
    "tinyint": (keys_cy.SIGNED, 1),
    "smallint": (keys_cy.SIGNED, 2),
    "int": (keys_cy.SIGNED, 4),
    "bigint": (keys_cy.SIGNED, 8),
    "timestamp": (keys_cy.SIGNED, 8),
    "date": (keys_cy.RAW, 4),
    "time": (keys_cy.RAW, 8),
    "float": (keys_cy.FLOAT, 4),
    "double": (keys_cy.FLOAT, 8),
    "uuid": (keys_cy.UUID, 16),
    "timeuuid": (keys_cy.TIMEUUID, 16),
}
"""How the kernel makes a scalar's key, and the length that its values have."""


def clustering_keys(
    types: Sequence[CqlType], descending: Sequence[bool], columns: Sequence[pa.BinaryArray]
) -> tuple[pa.BinaryArray, Marks]:
    """The keys of whole clusterings, and marks of the rows whose bytes are none of the types': their keys are empty."""
    rows = len(columns[0])
    if not keys_cy.COMPILED:
        return _one_by_one(types, descending, columns)
    given = [_component(*one) for one in zip(types, descending, columns, strict=True)]
    data, offsets, bad = keys_cy.compose(rows, [(*how, *addresses(array)) for how, array in given])
    keys = pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return keys, bad.astype(bool)


def arranged(columns: Sequence[pa.BinaryArray]) -> tuple[Longs, Marks]:
    """The order of rows by the bytes of these columns, and marks, in that order, of those that begin a new key."""
    rows = len(columns[0])
    whole = [_whole(column) for column in columns]
    if keys_cy.COMPILED:
        order, new = keys_cy.arrange(rows, [addresses(column)[:2] for column in whole])
        return order, new.astype(bool)
    keys = list(zip(*(column.to_pylist() for column in whole), strict=True))
    order = np.array(sorted(range(rows), key=keys.__getitem__), np.int64)
    new = np.ones(rows, bool)
    for at in range(1, rows):
        new[at] = keys[order[at]] != keys[order[at - 1]]
    return order, new


def _component(cql_type: CqlType, down: bool, column: pa.BinaryArray) -> tuple[tuple[int, int, bool], pa.BinaryArray]:
    """((how, length, descending), values) of one component, for the kernel."""
    known = _how(cql_type)
    if known is not None:
        return (*known, down), _whole(column)
    encode = clustering_key([cql_type], [down])
    found = column.dictionary_encode()
    keys: list[bytes | None] = []
    for value in [*found.dictionary.to_pylist(), None]:
        try:
            keys.append(encode([value]))
        except ValueError:
            keys.append(None)
    codes = found.indices.fill_null(len(keys) - 1)
    return (keys_cy.GIVEN, 0, down), _whole(pa.array(keys, pa.binary()).take(codes))


def _how(cql_type: CqlType) -> tuple[int, int] | None:
    if isinstance(cql_type, Scalar):
        return _SIMPLE.get(cql_type.name)
    if isinstance(cql_type, CustomType) and cql_type.short_name not in CUSTOM_KEYS:
        return keys_cy.ESCAPED, 0
    return None


def _whole(column: pa.BinaryArray) -> pa.BinaryArray:
    """An array with buffers, also when it is empty."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if len(column) else pa.array([b""], pa.binary()).slice(0, 0)


def addresses(column: pa.BinaryArray) -> tuple[int, int, int, int]:
    """Addresses of the bytes, of the offsets from the first value on, and of the validity (0 = all valid), and the
    validity's first bit; an array without values may have no buffers."""
    valid, offsets, data = column.buffers()
    first = column.offset
    ends = offsets.address + 4 * first if offsets is not None else 0
    marks = valid.address if valid is not None and column.null_count else 0
    return data.address if data is not None else 0, ends, marks, first


def _one_by_one(
    types: Sequence[CqlType], descending: Sequence[bool], columns: Sequence[pa.BinaryArray]
) -> tuple[pa.BinaryArray, Marks]:
    encode = clustering_key(types, descending)
    keys, bad = [], np.zeros(len(columns[0]), bool)
    for at, values in enumerate(zip(*(column.to_pylist() for column in columns), strict=True)):
        try:
            keys.append(encode(values))
        except ValueError:
            keys.append(b"")
            bad[at] = True
    return pa.array(keys, pa.binary()), bad
