"""Whole columns from Cassandra's bytes to binary COPY fields; None where some value needs a look of its own.

Each function gives what `scalars.py` gives value by value, or leaves the column to it: only there is said what does
not fit. Empty values, which are NULL for most types, are left to it too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.load.arrays import content
from cdc_pipeline.load.postgres.types import scalars

AtOnce = Callable[[pa.BinaryArray], pa.BinaryArray | None]
Numbers = npt.NDArray[np.signedinteger]


def text(array: pa.BinaryArray) -> pa.BinaryArray | None:
    """UTF-8 without U+0000, as it is."""
    data, _ = content(array)
    if not data.all():
        return None
    try:
        array.cast(pa.string())
    except pa.ArrowInvalid:
        return None
    return array


def anything(array: pa.BinaryArray) -> pa.BinaryArray | None:
    """As it is."""
    return array


def same(size: int) -> AtOnce:
    """Values of one size, as they are."""

    def at_once(array: pa.BinaryArray) -> pa.BinaryArray | None:
        return array if _of_size(array, size) else None

    return at_once


def numbers(layout: str, convert: Callable[[Numbers], Numbers | None]) -> AtOnce:
    """Values of one size, read as big-endian numbers and converted; None from `convert` when one does not fit."""
    size = np.dtype(layout).itemsize

    def at_once(array: pa.BinaryArray) -> pa.BinaryArray | None:
        if not _of_size(array, size):
            return None
        data, offsets = content(array)
        converted = convert(np.frombuffer(data, layout))
        if converted is None:
            return None
        ends = offsets // size * converted.dtype.itemsize
        valid = pa.py_buffer(_bits(array)) if array.null_count else None
        buffers = [valid, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(converted.tobytes())]
        return pa.Array.from_buffers(pa.binary(), len(array), buffers)

    return at_once


def timestamptz(millis: Numbers) -> Numbers | None:
    """ms since 1970 as µs since 2000."""
    low, high = scalars.MIN_TIMESTAMP, scalars.END_TIMESTAMP
    least, most = -(-(low + scalars.EPOCH_2000_MICROS) // 1000), (high + scalars.EPOCH_2000_MICROS) // 1000
    if len(millis) and (millis.min() < least or millis.max() >= most):
        return None
    return (millis.astype(np.int64) * 1000 - scalars.EPOCH_2000_MICROS).astype(">i8")


def date(days: Numbers) -> Numbers | None:
    """Days since 1970, as 2^31 + n, as days since 2000."""
    since = days.astype(np.int64) - 2**31 - scalars.EPOCH_2000_DAYS
    if len(since) and (since.min() < scalars.MIN_DATE or since.max() >= scalars.END_DATE):
        return None
    return since.astype(">i4")


def date_exact(days: Numbers) -> Numbers | None:
    """Days since 1970."""
    return (days.astype(np.int64) - 2**31).astype(">i4")


def time(nanos: Numbers) -> Numbers | None:
    """ns since midnight as µs."""
    if (nanos % 1000).any() or (nanos < 0).any() or (nanos > scalars.DAY_MICROS * 1000).any():
        return None
    return (nanos // 1000).astype(">i8")


def boolean(values: Numbers) -> Numbers | None:
    """Any byte but 0 is true."""
    found: Numbers = (values != 0).astype("i1")
    return found


def widened(values: Numbers) -> Numbers | None:
    """A signed byte as two."""
    return values.astype(">i2")


def _of_size(array: pa.BinaryArray, size: int) -> bool:
    """Whether every value has so many bytes, and nulls have none."""
    _, ends = content(array)
    lengths = np.diff(ends)
    if not array.null_count:
        return bool((lengths == size).all())
    expected = array.is_valid().to_numpy(zero_copy_only=False) * size
    return bool((lengths == expected).all())


def _bits(array: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    bits: npt.NDArray[np.uint8] = np.packbits(valid, bitorder="little")
    return bits
