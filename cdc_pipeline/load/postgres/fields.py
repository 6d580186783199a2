"""Columns of a COPY before they are rows: Arrow's buffers or numbers, and which of their values stands in which row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import NO_TIMESTAMP

Longs = npt.NDArray[np.int64]
Index = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BinaryField:
    """The bytes of fields as they are sent. `index`: per row the place of its value, -1 for NULL; None: row by row."""

    values: pa.BinaryArray
    index: Index | None = None


@dataclass(frozen=True, slots=True)
class LongField:
    """8-byte numbers; `null` is the one that is sent as NULL. `index` as in `BinaryField`."""

    values: Longs
    index: Index | None = None
    null: int = NO_TIMESTAMP


Field = BinaryField | LongField


def checked(field: Field, rows: int) -> Field:
    """The field, when it has a value for each of so many rows; `ValueError` when it would be read outside of it."""
    count = len(field.values)
    if isinstance(field, LongField):
        fits = field.values.dtype == np.int64 and field.values.flags.c_contiguous
    else:
        fits = field.values.type == pa.binary()
    index = field.index
    if index is None:
        fits = fits and count == rows
    else:
        fits = fits and index.dtype == np.int32 and index.flags.c_contiguous and len(index) == rows
        fits = fits and (not rows or (int(index.max()) < count and int(index.min()) >= -1))
    if not fits:
        raise ValueError(f"expected a field of {rows} rows, found one of {count} values that does not fit them")
    return field
