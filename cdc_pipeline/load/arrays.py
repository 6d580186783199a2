"""Arrow's buffers as numpy arrays, and what has no place in a destination's type."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Unfit(ValueError):
    """A value that the destination's type cannot hold exactly; the message says what would not fit, not the value."""


def content(array: pa.BinaryArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all values, and their offsets from 0."""
    _, offsets, data = array.buffers()
    if offsets is None or data is None or not len(array):
        return np.empty(0, np.uint8), np.zeros(len(array) + 1, np.int32)
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]], ends - ends[0]
