"""Columns to PostgreSQL's binary COPY rows; one source, compiled or interpreted, no Python object per value.

A row is a 2-byte number of fields, then per field a 4-byte length and its bytes; length -1 is NULL (PostgreSQL
manual, COPY, binary format). All numbers are big-endian.
"""

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcpy

COMPILED = cython.compiled

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _put32(p: cython.p_uchar, at: cython.Py_ssize_t, v: cython.longlong) -> cython.void:
    p[at] = (v >> 24) & 255
    p[at + 1] = (v >> 16) & 255
    p[at + 2] = (v >> 8) & 255
    p[at + 3] = v & 255


def encode_rows(rows: cython.Py_ssize_t, columns: list) -> bytearray:
    """The COPY rows of `rows` rows; each column is (data as bytes, offsets as int32 numpy array of rows + 1, valid).

    `valid` is None when no field is NULL, else a uint8 numpy array with 0 for NULL. A column whose offsets do not
    begin at 0, rise, and end inside its data is a ValueError.
    """
    fields: cython.Py_ssize_t = len(columns)
    total: cython.Py_ssize_t = rows * (2 + 4 * fields)
    for data, offsets, _valid in columns:
        if len(offsets) != rows + 1 or offsets[0] != 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets that do not fit their data")
        total += int(offsets[-1])
    out = bytearray(total)
    if cython.compiled:
        return _fill(out, rows, columns)
    at = 0
    for row in range(rows):
        out[at : at + 2] = fields.to_bytes(2, "big")
        at += 2
        for data, offsets, valid in columns:
            if valid is not None and not valid[row]:
                out[at : at + 4] = b"\xff\xff\xff\xff"
                at += 4
                continue
            field = data[offsets[row] : offsets[row + 1]]
            out[at : at + 4] = len(field).to_bytes(4, "big")
            out[at + 4 : at + 4 + len(field)] = field
            at += 4 + len(field)
    return out[:at]


@cython.cfunc
def _fill(out: bytearray, rows: cython.Py_ssize_t, columns: list) -> bytearray:
    """Row by row, which keeps the output in cache; `parts` holds three addresses per column: data, offsets, valid."""
    fields: cython.Py_ssize_t = len(columns)
    p: cython.p_uchar = cython.cast(cython.p_uchar, out)
    addresses = np.zeros(3 * fields + 1, np.int64)
    for k, (data, offsets, valid) in enumerate(columns):
        addresses[3 * k] = np.frombuffer(data, np.uint8).ctypes.data if len(data) else 0
        addresses[3 * k + 1] = offsets.ctypes.data
        addresses[3 * k + 2] = 0 if valid is None else valid.ctypes.data
    parts: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, addresses.ctypes.data))
    at: cython.Py_ssize_t = 0
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    size: cython.longlong
    ends: cython.p_int
    source: cython.p_uchar
    marks: cython.p_uchar
    for row in range(rows):
        p[at] = (fields >> 8) & 255
        p[at + 1] = fields & 255
        at += 2
        for i in range(fields):
            marks = cython.cast(cython.p_uchar, cython.cast(cython.size_t, parts[3 * i + 2]))
            if parts[3 * i + 2] != 0 and marks[row] == 0:
                _put32(p, at, -1)
                at += 4
                continue
            ends = cython.cast(cython.p_int, cython.cast(cython.size_t, parts[3 * i + 1]))
            size = ends[row + 1] - ends[row]
            _put32(p, at, size)
            if size > 0:
                source = cython.cast(cython.p_uchar, cython.cast(cython.size_t, parts[3 * i]))
                memcpy(cython.address(p[at + 4]), cython.address(source[ends[row]]), size)
            at += 4 + size
    return out[:at]
