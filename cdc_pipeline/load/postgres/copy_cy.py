"""Columns to PostgreSQL's binary COPY stream; one source, compiled or interpreted, no Python object per value.

A row is a 2-byte number of fields, then per field a 4-byte length and its bytes; length -1 is NULL (PostgreSQL
manual, COPY, binary format). All numbers are big-endian. The compiled form runs without the GIL: the server's answers
are waited for in another thread.
"""

import struct

import cython
import numpy as np

from cdc_pipeline.load.postgres.fields import LongField, checked
from cdc_pipeline.types.key_arrays import addresses

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
            table[_PARTS * at : _PARTS * (at + 1)] = (0, *addresses(field.values), index, 0)
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


BYTEA, INT8, TEXT = 17, 20, 25


def encode_cells(order, rows, path, ts, x, value, text, cell_oid: cython.longlong) -> tuple:
    """(bytes, int32 offsets) of one `cdc.cell[]` field per row: `array_recv`, and `record_recv` of each cell.

    `order` (int64) takes the cells by row, then by path; `rows`, `ts` and `x` (int64) and `path`, `value` and `text`
    (binary arrays) are by cell. The fields come in the order of their rows.
    """
    count: cython.Py_ssize_t = len(order)
    for numbers in (order, rows, ts, x):
        if numbers.dtype != np.int64 or not numbers.flags.c_contiguous:
            raise ValueError("expected 8-byte numbers without gaps, found others")
    if count and (order.min() < 0 or order.max() >= min(map(len, (rows, ts, x, path, value, text)))):
        raise ValueError("expected an order of the cells, found places outside of them")
    if cython.compiled:
        return _cells(order, rows, path, ts, x, value, text, cell_oid)
    out, ends = bytearray(), [0]
    taken = order.tolist()
    for first, cell in enumerate(taken):
        if first and rows[taken[first - 1]] == rows[cell]:
            continue
        if first:
            ends.append(len(out))
        members = [one for one in taken[first:] if rows[one] == rows[cell]]
        out += struct.pack(">iiIii", 1, 0, cell_oid, len(members), 1)
        for one in members:
            fields = [(BYTEA, path[one].as_py()), (INT8, struct.pack(">q", ts[one]))]
            fields += [(INT8, struct.pack(">q", x[one]) if x[one] else None)]
            fields += [(BYTEA, value[one].as_py()), (TEXT, text[one].as_py())]
            record = struct.pack(">i", len(fields))
            for oid, raw in fields:
                record += struct.pack(">Ii", oid, -1 if raw is None else len(raw)) + (raw or b"")
            out += struct.pack(">i", len(record)) + record
    return out, np.array([*ends, len(out)] if taken else [0], np.int32)


def _cells(order, rows, path, ts, x, value, text, cell_oid: cython.longlong):
    count: cython.Py_ssize_t = len(order)
    table = np.array(
        [
            order.ctypes.data,
            rows.ctypes.data,
            ts.ctypes.data,
            x.ctypes.data,
            *(number for one in (path, value, text) for number in addresses(one)),
            cell_oid,
        ],
        np.int64,
    )
    offsets = np.zeros(count + 1, np.int64)
    parts: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, table.ctypes.data))
    ends: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, offsets.ctypes.data))
    groups: cython.Py_ssize_t
    with cython.nogil:
        groups = _fill_cells(cython.NULL, count, parts, ends)
    out = bytearray(int(offsets[groups]))
    p: cython.p_uchar = cython.cast(cython.p_uchar, out)
    with cython.nogil:
        _fill_cells(p, count, parts, ends)
    return out, offsets[: groups + 1].astype(np.int32)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill_cells(
    p: cython.p_uchar, count: cython.Py_ssize_t, parts: cython.p_longlong, ends: cython.p_longlong
) -> cython.Py_ssize_t:
    """The number of rows; without `p` only the sizes."""
    order: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, parts[0]))
    rows: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, parts[1]))
    ts: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, parts[2]))
    x: cython.p_longlong = cython.cast(cython.p_longlong, cython.cast(cython.size_t, parts[3]))
    at: cython.Py_ssize_t = 0
    head: cython.Py_ssize_t = 0
    begin: cython.Py_ssize_t
    group: cython.Py_ssize_t = 0
    members: cython.longlong = 0
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    for i in range(count):
        k = order[i]
        if i == 0 or rows[order[i - 1]] != rows[k]:
            if i > 0:
                if p != cython.NULL:
                    _put32(p, head + 12, members)
                group += 1
                ends[group] = at
            head = at
            members = 0
            if p != cython.NULL:
                _put32(p, at, 1)
                _put32(p, at + 4, 0)
                _put32(p, at + 8, parts[16])
                _put32(p, at + 16, 1)
            at += 20
        members += 1
        begin = at
        if p != cython.NULL:
            _put32(p, at + 4, 5)
        at += 8
        at += _part(p, at, 17, cython.address(parts[4]), k)
        at += _long(p, at, ts[k], False)
        at += _long(p, at, x[k], x[k] == 0)
        at += _part(p, at, 17, cython.address(parts[8]), k)
        at += _part(p, at, 25, cython.address(parts[12]), k)
        if p != cython.NULL:
            _put32(p, begin, at - begin - 4)
    if count > 0:
        if p != cython.NULL:
            _put32(p, head + 12, members)
        group += 1
        ends[group] = at
    return group


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _part(
    p: cython.p_uchar, at: cython.Py_ssize_t, oid: cython.int, part: cython.p_longlong, k: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """An attribute of bytes: oid, length, bytes."""
    size: cython.longlong = -1
    bit: cython.Py_ssize_t = k + part[3]
    ends: cython.p_int = cython.cast(cython.p_int, cython.cast(cython.size_t, part[1]))
    marks: cython.p_uchar = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[2]))
    source: cython.p_uchar = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[0]))
    if part[2] == 0 or (marks[bit >> 3] >> (bit & 7)) & 1:
        size = ends[k + 1] - ends[k]
    if p != cython.NULL:
        _put32(p, at, oid)
        _put32(p, at + 4, size)
        if size > 0:
            memcpy(cython.address(p[at + 8]), cython.address(source[ends[k]]), size)
    return 8 + (size if size > 0 else 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _long(p: cython.p_uchar, at: cython.Py_ssize_t, v: cython.longlong, null: cython.bint) -> cython.Py_ssize_t:
    """An attribute of 8 bytes."""
    if p != cython.NULL:
        _put32(p, at, 20)
        _put32(p, at + 4, -1 if null else 8)
        if not null:
            _put32(p, at + 8, v >> 32)
            _put32(p, at + 12, v)
    return 8 if null else 16
