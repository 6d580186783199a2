"""Columns to PostgreSQL's binary COPY stream; one source, compiled or interpreted, no Python object per value.

A row is a 2-byte number of fields, then per field a 4-byte length and its bytes; length -1 is NULL (PostgreSQL
manual, COPY, binary format). All numbers are big-endian. The compiled form runs without the GIL: the server's answers
are waited for in another thread.
"""

import struct

import cython
import numpy as np

from cdc_pipeline.load.postgres.fields import LongField, checked

if cython.compiled:
    from cython.cimports.libc.string import memcpy

COMPILED = cython.compiled

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

_PARTS = cython.declare(cython.Py_ssize_t, 7)


def encode_copy(rows: cython.Py_ssize_t, fields: list) -> bytearray:
    """The whole COPY stream of so many rows; each field is a `BinaryField` or a `LongField`.

    A field that does not fit the rows is a ValueError.
    """
    for field in fields:
        checked(field, rows)
    if cython.compiled:
        return _encode(rows, fields)
    out = bytearray(HEADER)
    for row in range(rows):
        out += len(fields).to_bytes(2, "big")
        for field in fields:
            out += _one(field, row)
    return out + TRAILER


def _one(field, row):
    at = row if field.index is None else int(field.index[row])
    if isinstance(field, LongField):
        null = at < 0 or int(field.values[at]) == field.null
        return b"\xff\xff\xff\xff" if null else struct.pack(">iq", 8, field.values[at])
    raw = None if at < 0 else field.values[at].as_py()
    return b"\xff\xff\xff\xff" if raw is None else struct.pack(">i", len(raw)) + raw


def _encode(rows: cython.Py_ssize_t, fields: list):
    """Measured first, so that the stream is made once and nothing can be written behind it."""
    count: cython.Py_ssize_t = len(fields)
    table = np.zeros(_PARTS * count + 1, np.int64)
    for at, field in enumerate(fields):
        index = 0 if field.index is None else field.index.ctypes.data
        if isinstance(field, LongField):
            table[_PARTS * at : _PARTS * (at + 1)] = (1, field.values.ctypes.data, 0, 0, 0, index, field.null)
        else:
            table[_PARTS * at : _PARTS * (at + 1)] = (0, *field.address, index, 0)
    parts: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, table.ctypes.data))
    size: cython.Py_ssize_t
    with cython.nogil:
        size = _fill(cython.NULL, rows, parts, count)
    head: cython.Py_ssize_t = len(HEADER)
    out = bytearray(head + size + len(TRAILER))
    out[:head] = HEADER
    out[head + size :] = TRAILER
    p: cython.p_uchar = cython.cast(cython.p_uchar, out)
    with cython.nogil:
        _fill(cython.address(p[head]), rows, parts, count)
    return out


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill(
    p: cython.p_uchar, rows: cython.Py_ssize_t, parts: cython.p_longlong, count: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Row by row, which keeps the output in cache; without `p` only the size."""
    at: cython.Py_ssize_t = 0
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    bit: cython.Py_ssize_t
    size: cython.longlong
    part: cython.p_longlong
    ends: cython.p_int
    index: cython.p_int
    marks: cython.p_uchar
    source: cython.p_uchar
    longs: cython.p_longlong
    for row in range(rows):
        if p != cython.NULL:
            p[at] = (count >> 8) & 255
            p[at + 1] = count & 255
        at += 2
        for i in range(count):
            part = cython.address(parts[7 * i])
            k = row
            if part[5] != 0:
                index = cython.cast(cython.p_int, cython.cast(cython.size_t, part[5]))
                k = index[row]
            size = -1
            if k >= 0:
                if part[0] == 1:
                    longs = cython.cast(cython.p_longlong, cython.cast(cython.size_t, part[1]))
                    if longs[k] != part[6]:
                        size = 8
                        if p != cython.NULL:
                            _put32(p, at + 4, longs[k] >> 32)
                            _put32(p, at + 8, longs[k])
                else:
                    bit = k + part[4]
                    marks = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[3]))
                    if part[3] == 0 or (marks[bit >> 3] >> (bit & 7)) & 1:
                        ends = cython.cast(cython.p_int, cython.cast(cython.size_t, part[2]))
                        size = ends[k + 1] - ends[k]
                        if p != cython.NULL and size > 0:
                            source = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[1]))
                            memcpy(cython.address(p[at + 4]), cython.address(source[ends[k]]), size)
            if p != cython.NULL:
                _put32(p, at, size)
            at += 4
            if size > 0:
                at += size
    return at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put32(p: cython.p_uchar, at: cython.Py_ssize_t, v: cython.longlong) -> cython.void:
    p[at] = (v >> 24) & 255
    p[at + 1] = (v >> 16) & 255
    p[at + 2] = (v >> 8) & 255
    p[at + 3] = v & 255
