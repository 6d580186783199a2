"""Clusterings of many rows to their sort bytes, without a Python object per value; compiled only.

The rule is `ordering.py`'s, component by component; this is the same for the types whose keys need no more than a look
at their bytes. `key_arrays.py` decides who does it.
"""

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcmp, memcpy

COMPILED = cython.compiled

GIVEN, ESCAPED, RAW, SIGNED, FLOAT, TIMEUUID, UUID, BOOLEAN = range(8)
"""How a value becomes its key: whole components made elsewhere, bytes with an escape, bytes of one length, the same
with the sign flipped, floats, and what the functions of `sortkeys.py` of these names do."""

_PARTS = cython.declare(cython.Py_ssize_t, 7)


def compose(rows: cython.Py_ssize_t, components: list) -> tuple:
    """(bytes, int32 offsets, uint8 marks of rows with a value that is none of its type's) of the rows' keys.

    A component is (how, length or 0, descending, and the addresses of its data, offsets, validity or 0, first bit);
    null in a component that is GIVEN marks the row.
    """
    count: cython.Py_ssize_t = len(components)
    table = np.array([*(number for component in components for number in component), 0], np.int64)
    offsets = np.zeros(rows + 1, np.int64)
    bad = np.zeros(rows, np.uint8)
    parts: cython.p_longlong = _longs(table)
    ends: cython.p_longlong = _longs(offsets)
    marks: cython.p_uchar = cython.cast(cython.p_uchar, cython.cast(cython.size_t, bad.ctypes.data))
    with cython.nogil:
        _compose(cython.NULL, rows, parts, count, ends, marks)
    total: cython.Py_ssize_t = int(offsets[rows])
    if total > 2147483647:
        raise ValueError("clusterings of more than 2 GiB in one batch")
    out = bytearray(total)
    p: cython.p_uchar = cython.cast(cython.p_uchar, out)
    with cython.nogil:
        _compose(p, rows, parts, count, ends, marks)
    return out, offsets.astype(np.int32), bad


@cython.cfunc
def _longs(array) -> cython.p_longlong:
    return cython.cast(cython.p_longlong, cython.cast(cython.size_t, array.ctypes.data))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _compose(
    p: cython.p_uchar,
    rows: cython.Py_ssize_t,
    parts: cython.p_longlong,
    count: cython.Py_ssize_t,
    offsets: cython.p_longlong,
    bad: cython.p_uchar,
) -> cython.void:
    """Without `p` the sizes and marks only; a marked row has no bytes."""
    row: cython.Py_ssize_t
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    size: cython.Py_ssize_t
    length: cython.Py_ssize_t
    bit: cython.Py_ssize_t
    part: cython.p_longlong
    ends: cython.p_int
    valid: cython.p_uchar
    value: cython.p_uchar
    at = 0
    for row in range(rows):
        offsets[row] = at
        if p != cython.NULL and bad[row]:
            continue
        begin = at
        for i in range(count):
            part = cython.address(parts[7 * i])
            ends = cython.cast(cython.p_int, cython.cast(cython.size_t, part[4]))
            value = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[3]))
            valid = cython.cast(cython.p_uchar, cython.cast(cython.size_t, part[5]))
            bit = row + part[6]
            length = ends[row + 1] - ends[row]
            if part[5] != 0 and not (valid[bit >> 3] >> (bit & 7)) & 1:
                length = -1
            elif length > 0:
                value = cython.address(value[ends[row]])
            size = _component(cython.NULL if p == cython.NULL else cython.address(p[at]), part, value, length)
            if size < 0:
                bad[row] = 1
                at = begin
                break
            at += size
    offsets[rows] = at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _component(
    p: cython.p_uchar, part: cython.p_longlong, value: cython.p_uchar, length: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Writes one component where `p` is given; its size, -1 for a value that is none of the type's."""
    how: cython.longlong = part[0]
    invert: cython.uchar = 255 if part[2] else 0
    size: cython.Py_ssize_t
    i: cython.Py_ssize_t
    if how == 0:
        if length >= 0 and p != cython.NULL:
            memcpy(p, value, length)
        return length
    if length <= 0:
        if p != cython.NULL:
            p[0] = 0x40 if length < 0 else 0x41 ^ invert
        return 1
    if how == 1:
        size = _escape(cython.NULL if p == cython.NULL else cython.address(p[1]), value, length)
    else:
        if length != part[1]:
            return -1
        size = length + 1 if how == 6 else length
        if p != cython.NULL:
            _fixed(cython.address(p[1]), how, value, length)
    if p != cython.NULL:
        p[0] = 0x42
        if invert:
            for i in range(size + 1):
                p[i] ^= 255
    return size + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _escape(p: cython.p_uchar, value: cython.p_uchar, length: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """00 as 00 FF, and 00 01 behind all."""
    i: cython.Py_ssize_t
    at: cython.Py_ssize_t = 0
    for i in range(length):
        if p != cython.NULL:
            p[at] = value[i]
        at += 1
        if value[i] == 0:
            if p != cython.NULL:
                p[at] = 255
            at += 1
    if p != cython.NULL:
        p[at] = 0
        p[at + 1] = 1
    return at + 2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fixed(p: cython.p_uchar, how: cython.longlong, value: cython.p_uchar, length: cython.Py_ssize_t) -> cython.void:
    i: cython.Py_ssize_t
    if how == 6:
        p[0] = value[6] >> 4
        memcpy(cython.address(p[1]), value, 16)
        if value[6] >> 4 == 1:
            _time_first(cython.address(p[1]), value)
        return
    memcpy(p, value, length)
    if how == 3:
        p[0] ^= 128
    elif how == 4:
        if _is_nan(value, length):
            for i in range(length):
                p[i] = 0
            p[0], p[1] = 0xFF, 0xF8 if length == 8 else 0xC0
        elif value[0] & 128:
            for i in range(length):
                p[i] = value[i] ^ 255
        else:
            p[0] ^= 128
    elif how == 5:
        _time_first(p, value)
        for i in range(8, 16):
            p[i] ^= 128
    elif how == 7:
        p[0] = 1 if value[0] else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _time_first(p: cython.p_uchar, uuid: cython.p_uchar) -> cython.void:
    p[0], p[1], p[2], p[3] = uuid[6], uuid[7], uuid[4], uuid[5]
    memcpy(cython.address(p[4]), uuid, 4)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _is_nan(value: cython.p_uchar, length: cython.Py_ssize_t) -> cython.bint:
    """All exponent bits set, and a fraction that is not 0."""
    i: cython.Py_ssize_t
    rest: cython.int = 0
    if value[0] & 127 != 127:
        return False
    if length == 8:
        if value[1] & 0xF0 != 0xF0:
            return False
        rest = value[1] & 0x0F
    else:
        if value[1] & 0x80 != 0x80:
            return False
        rest = value[1] & 0x7F
    for i in range(2, length):
        rest |= value[i]
    return rest != 0


def arrange(rows: cython.Py_ssize_t, columns: list) -> tuple:
    """(int64 order of the rows by all columns, uint8 marks of those that begin a new key in it); rows of one key stay
    as they were. A column holds the addresses of its data and its int32 offsets; nulls count as empty.
    """
    count: cython.Py_ssize_t = len(columns)
    table = np.array([*(number for column in columns for number in column), 0], np.int64)
    order = np.arange(rows, dtype=np.int64)
    spare = np.empty(rows, np.int64)
    new = np.ones(rows, np.uint8)
    parts: cython.p_longlong = _longs(table)
    found: cython.p_longlong = _longs(order)
    other: cython.p_longlong = _longs(spare)
    marks: cython.p_uchar = cython.cast(cython.p_uchar, cython.cast(cython.size_t, new.ctypes.data))
    row: cython.Py_ssize_t
    with cython.nogil:
        _sort(found, other, rows, parts, count)
        for row in range(1, rows):
            marks[row] = _compare(parts, count, found[row - 1], found[row]) != 0
    return order, new


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _compare(parts: cython.p_longlong, count: cython.Py_ssize_t, a: cython.longlong, b: cython.longlong) -> cython.int:
    i: cython.Py_ssize_t
    left: cython.longlong
    right: cython.longlong
    found: cython.int
    ends: cython.p_int
    data: cython.p_uchar
    for i in range(count):
        data = cython.cast(cython.p_uchar, cython.cast(cython.size_t, parts[2 * i]))
        ends = cython.cast(cython.p_int, cython.cast(cython.size_t, parts[2 * i + 1]))
        left = ends[a + 1] - ends[a]
        right = ends[b + 1] - ends[b]
        found = 0
        if left > 0 and right > 0:
            found = memcmp(
                cython.address(data[ends[a]]), cython.address(data[ends[b]]), left if left < right else right
            )
        if found != 0:
            return found
        if left != right:
            return -1 if left < right else 1
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _sort(
    order: cython.p_longlong,
    spare: cython.p_longlong,
    rows: cython.Py_ssize_t,
    parts: cython.p_longlong,
    count: cython.Py_ssize_t,
) -> cython.void:
    """A stable merge sort from below; what is in order already is only looked at."""
    width: cython.Py_ssize_t = 1
    begin: cython.Py_ssize_t
    middle: cython.Py_ssize_t
    end: cython.Py_ssize_t
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    k: cython.Py_ssize_t
    while width < rows:
        begin = 0
        while begin + width < rows:
            middle = begin + width
            end = middle + width if middle + width < rows else rows
            if _compare(parts, count, order[middle - 1], order[middle]) > 0:
                memcpy(spare, cython.address(order[begin]), width * 8)
                i, j, k = 0, middle, begin
                while i < width and j < end:
                    if _compare(parts, count, spare[i], order[j]) <= 0:
                        order[k] = spare[i]
                        i += 1
                    else:
                        order[k] = order[j]
                        j += 1
                    k += 1
                while i < width:
                    order[k] = spare[i]
                    i += 1
                    k += 1
            begin += 2 * width
        width *= 2
