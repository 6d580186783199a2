"""The loop over a section: entries, mutations, partition updates, rows and cells into growable columns.

One source: compiled by Cython when the package is built, interpreted where no compiler is. The compiled form runs
without the GIL and makes no Python object per mutation, row or cell; its columns become Arrow arrays without a copy.
Byte rules: sections 5 and 6 of the format document; the numbers in the comments below are its sections.

How it is kept safe and simple:

* Every read of the input compares with the end of its mutation first, in `_u8`, `_u16`, `_vint`, `_size` and `_skip`,
  and nothing else reads. A read that would go beyond fails and yields 0: out-of-range reads are impossible whatever
  the lengths in the bytes say. (`_copy` may load up to 32 bytes behind a value that is inside; `read` demands as many
  behind the section.)
* The first failure is kept (`error`), the position goes to the end, so that all reads behind it fail too; loops ask
  for it, nothing else has to.
* A mutation is a transaction: what it added is taken back when it turns out to be damaged or when a column list has
  to be resolved by Python first, after which it is read again.
* Buffers grow by doubling with what was really read, never by what a length promises.
"""

import array
import types
import zlib

import cython

if cython.compiled:
    from cython.cimports.cdc_pipeline.decode.arrow_out import ArrowArray, arrow_column, arrow_drop, arrow_new
    from cython.cimports.cdc_pipeline.decode.crc32 import crc32_can_fold, crc32_fold
    from cython.cimports.libc.stdlib import calloc, free, realloc
    from cython.cimports.libc.string import memchr, memcmp, memcpy

COMPILED = cython.compiled

NO_TIMESTAMP = -(2**63)
"""Stands for "no liveness" and "no deletion"; Cassandra writes the same number for a deletion that is not there."""

_EPOCH_MICROS = cython.declare(cython.longlong, 1442880000000000)
_EPOCH_SECONDS = cython.declare(cython.longlong, 1442880000)
_WRAP = cython.declare(cython.longlong, 4294967296)
_INVALID_LOCAL = cython.declare(cython.longlong, 4294967294)
_NONE = cython.declare(cython.longlong, NO_TIMESTAMP)
_LARGEST_POOL = cython.declare(cython.Py_ssize_t, 2147483647)
_SMALLEST = cython.declare(cython.Py_ssize_t, 64)
_MOST_PLANS = cython.declare(cython.Py_ssize_t, 256)
_PAD = cython.declare(cython.Py_ssize_t, 32)
SLACK = _PAD
"""Readable bytes that `Kernel.read` demands behind a section."""

# Kinds of a row (`change.RowKind`); an update that says nothing is one, which only the dump shows.
_ROW = cython.declare(cython.int, 0)
_STATIC = cython.declare(cython.int, 1)
_RANGE = cython.declare(cython.int, 2)
_PARTITION = cython.declare(cython.int, 3)
_NOTHING = cython.declare(cython.int, 4)

# Kinds of a cell (`change.CellKind`).
_LIVE = cython.declare(cython.int, 0)
_TOMBSTONE = cython.declare(cython.int, 1)
_EXPIRING = cython.declare(cython.int, 2)
_COLUMN_DELETION = cython.declare(cython.int, 3)

# What is done with a table's changes; an entry of a CONTROL table ends the reading behind it (the schema's tables).
_SKIPPED = cython.declare(cython.int, 0)
_WANTED = cython.declare(cython.int, 1)
_CONTROL = cython.declare(cython.int, 2)
SKIPPED, WANTED, CONTROL = _SKIPPED, _WANTED, _CONTROL

# Why `Kernel.read` returned: section done, batch full, the segment ends here, section given up, a control entry was
# read. The last two stay inside.
_DONE = cython.declare(cython.int, 0)
_FULL = cython.declare(cython.int, 1)
_ENDED = cython.declare(cython.int, 2)
_GIVEN_UP = cython.declare(cython.int, 3)
_CONTROLLED = cython.declare(cython.int, 4)
_RESOLVE = cython.declare(cython.int, 5)
_DAMAGED = cython.declare(cython.int, 6)
DONE, FULL, ENDED, GIVEN_UP, CONTROLLED = _DONE, _FULL, _ENDED, _GIVEN_UP, _CONTROLLED

# Errors of a mutation; the messages below say what was expected and found, {a} and {b} given by the place.
_SHORT = cython.declare(cython.int, 1)
_LENGTH = cython.declare(cython.int, 2)
_UPDATES = cython.declare(cython.int, 3)
_REST = cython.declare(cython.int, 4)
_TABLE = cython.declare(cython.int, 5)
_REVERSED = cython.declare(cython.int, 6)
_KEY_RUNS = cython.declare(cython.int, 7)
_KEY_MORE = cython.declare(cython.int, 8)
_COLUMN_LIST = cython.declare(cython.int, 9)
_NOT_STATIC = cython.declare(cython.int, 10)
_STATIC_AMONG = cython.declare(cython.int, 11)
_SUBSET = cython.declare(cython.int, 12)
_MISSING = cython.declare(cython.int, 13)
_INDEX = cython.declare(cython.int, 14)
_CELLS = cython.declare(cython.int, 15)
_BOTH = cython.declare(cython.int, 16)
_NO_ROW_TIME = cython.declare(cython.int, 17)
_BOUND = cython.declare(cython.int, 18)
_OPENED = cython.declare(cython.int, 19)
_NOT_OPENED = cython.declare(cython.int, 20)
_NOT_CLOSED = cython.declare(cython.int, 21)
_BOUND_VALUES = cython.declare(cython.int, 22)
_LARGE = cython.declare(cython.int, 23)
_MEMORY = cython.declare(cython.int, 24)
_MESSAGES = {
    _SHORT: "expected {a} more bytes, found {b}",
    _LENGTH: "expected a value of {a} bytes, found {b} left",
    _UPDATES: "expected a number of partition updates, found {a}",
    _REST: "expected the end of the mutation, found {a} more bytes",
    _REVERSED: "expected an update in the table's order, found a reversed one",
    _KEY_RUNS: "expected part {a} of the partition key to end inside the key, found it beyond",
    _KEY_MORE: "expected {a} parts of the partition key, found more",
    _COLUMN_LIST: "expected a number of columns, found {a}",
    _NOT_STATIC: "expected a static row, found row flags {a:02x}",
    _STATIC_AMONG: "expected a row, found a static row among the rows",
    _SUBSET: "expected a subset of {a} columns, found bits beyond them",
    _MISSING: "expected at most {b} missing columns, found {a}",
    _INDEX: "expected column indexes below {b} in their order, found {a}",
    _CELLS: "expected a number of cells, found {a}",
    _BOTH: "expected a tombstone or an expiring cell, found both in one",
    _NO_ROW_TIME: "expected a timestamp in the row for a cell that takes it, found none",
    _BOUND: "expected a bound, found kind {a}",
    _OPENED: "expected the end of a range tombstone, found another one opened inside it",
    _NOT_OPENED: "expected a range tombstone to be opened, found the end of one",
    _NOT_CLOSED: "expected the end of a range tombstone, found the end of the partition",
    _BOUND_VALUES: "expected a bound of at most {b} values, found {a}",
    _LARGE: "expected at most 2 GiB of one column in a batch, found more",
}

Pool = cython.struct(  # byte strings: data, Arrow offsets, a byte per string that says whether it is one or null
    data=cython.p_uchar,
    size=cython.Py_ssize_t,
    cap=cython.Py_ssize_t,
    ends=cython.p_int,
    valid=cython.p_uchar,
    filled=cython.Py_ssize_t,  # strings whose end is set; those behind are null until one is pushed
)
Column = cython.struct(  # a column of an update's list: bare length (-1 = vint), multi-cell, when it was dropped (µs)
    id=cython.int,
    size=cython.int,
    multi=cython.int,
    dropped=cython.longlong,
)
Plan = cython.struct(  # a column list of an update header, resolved
    raw=cython.p_uchar,
    raw_size=cython.Py_ssize_t,
    count=cython.Py_ssize_t,
    columns=cython.pointer(Column),
)
Table = cython.struct(
    wanted=cython.int,
    key_parts=cython.Py_ssize_t,
    clusterings=cython.Py_ssize_t,
    clustering_sizes=cython.p_int,
    plan_count=cython.Py_ssize_t,
    plans=cython.pointer(cython.pointer(Plan)),
    last_regular=cython.Py_ssize_t,
    last_static=cython.Py_ssize_t,
    rows=cython.Py_ssize_t,
    row_cap=cython.Py_ssize_t,
    row_hint=cython.Py_ssize_t,
    kind=cython.p_uchar,
    update=cython.p_longlong,
    position=cython.p_longlong,
    live_ts=cython.p_longlong,
    live_ttl=cython.p_int,
    live_local=cython.p_int,  # unsigned: bits of 0 to 2^32 - 1
    del_ts=cython.p_longlong,
    del_local=cython.p_int,  # unsigned: bits of 0 to 2^32 - 1
    cell_end=cython.p_int,
    keys=cython.pointer(cython.pointer(Pool)),
    prefix=cython.pointer(cython.pointer(Pool)),
    cells=cython.Py_ssize_t,
    cell_cap=cython.Py_ssize_t,
    cell_hint=cython.Py_ssize_t,
    column=cython.p_int,
    cell_kind=cython.p_uchar,
    cell_ts=cython.p_longlong,
    cell_ttl=cython.p_int,
    cell_local=cython.p_int,  # unsigned: bits of 0 to 2^32 - 1
    path=cython.pointer(Pool),
    value=cython.pointer(Pool),
    ranges=cython.pointer(Pool),  # records: inclusive start, inclusive end, lengths, the bounds as they were written
    stamp=cython.longlong,  # of the mutation that touched it last
    mark_rows=cython.Py_ssize_t,
    mark_cells=cython.Py_ssize_t,
    mark_ranges=cython.Py_ssize_t,
)

if cython.compiled:
    _CRC = cython.declare(cython.uint[2048])


def _make_crc_table() -> None:
    """Eight tables of 256 for slicing-by-8 (CRC-32, polynomial edb88320 reflected, as zlib's)."""
    if cython.compiled:
        i: cython.int
        k: cython.int
        _bit: cython.int
        c: cython.uint
        poly: cython.uint = cython.cast(cython.uint, 0xEDB88320)
        for i in range(256):
            c = cython.cast(cython.uint, i)
            for _bit in range(8):
                c = (c >> 1) ^ (poly if c & 1 else 0)
            _CRC[i] = c
        for i in range(256):
            for k in range(1, 8):
                c = _CRC[(k - 1) * 256 + i]
                _CRC[k * 256 + i] = (c >> 8) ^ _CRC[c & 255]


_make_crc_table()
_FOLDS = cython.declare(cython.bint, False)
if cython.compiled:
    _FOLDS = crc32_can_fold()


# --- numbers that wrap ---------------------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _signed64(v: cython.ulonglong) -> cython.longlong:
    if cython.compiled:
        return cython.cast(cython.longlong, v)
    v &= 0xFFFFFFFFFFFFFFFF
    return v - 0x10000000000000000 if v >> 63 else v


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _add64(a: cython.longlong, b: cython.longlong) -> cython.longlong:
    """a + b modulo 2^64 (6.1: all delta arithmetic)."""
    if cython.compiled:
        return cython.cast(cython.longlong, cython.cast(cython.ulonglong, a) + cython.cast(cython.ulonglong, b))
    return _signed64(a + b)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _signed32(v: cython.longlong) -> cython.int:
    if cython.compiled:
        return cython.cast(cython.int, cython.cast(cython.uint, cython.cast(cython.ulonglong, v)))
    v &= 0xFFFFFFFF
    return v - 4294967296 if v > 2147483647 else v


# --- loads ---------------------------------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _be32(p: cython.pointer(cython.const[cython.uchar]), at: cython.Py_ssize_t) -> cython.uint:
    """4 bytes that the caller knows to be there."""
    if cython.compiled:
        return (
            (cython.cast(cython.uint, p[at]) << 24)
            | (cython.cast(cython.uint, p[at + 1]) << 16)
            | (cython.cast(cython.uint, p[at + 2]) << 8)
            | p[at + 3]
        )
    return int.from_bytes(p[at : at + 4], "big")


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _be64(p: cython.pointer(cython.const[cython.uchar]), at: cython.Py_ssize_t) -> cython.ulonglong:
    """8 bytes that the caller knows to be there."""
    if cython.compiled:
        return (cython.cast(cython.ulonglong, _be32(p, at)) << 32) | _be32(p, at + 4)
    return int.from_bytes(p[at : at + 8], "big")


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put32(p: cython.p_uchar, at: cython.Py_ssize_t, v: cython.Py_ssize_t) -> cython.void:
    p[at] = (v >> 24) & 255
    p[at + 1] = (v >> 16) & 255
    p[at + 2] = (v >> 8) & 255
    p[at + 3] = v & 255


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _hash(high: cython.ulonglong, low: cython.ulonglong) -> cython.ulonglong:
    """Of a table id; compiled only (it wraps)."""
    v: cython.ulonglong = (high ^ (low << 1)) * cython.cast(cython.ulonglong, 0x9E3779B97F4A7C15)
    return v >> 32


# --- memory: malloc when compiled, lists and bytearrays when interpreted -------------------------------------------


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _more8(p: cython.p_uchar, n: cython.Py_ssize_t) -> cython.p_uchar:
    if cython.compiled:
        return cython.cast(cython.p_uchar, realloc(p, n))
    p = bytearray() if p is None else p
    p.extend(bytes(max(0, n - len(p))))
    return p


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _more32(p: cython.p_int, n: cython.Py_ssize_t) -> cython.p_int:
    if cython.compiled:
        return cython.cast(cython.p_int, realloc(p, n * 4))
    p = [] if p is None else p
    p.extend([0] * (n - len(p)))
    return p


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _more64(p: cython.p_longlong, n: cython.Py_ssize_t) -> cython.p_longlong:
    if cython.compiled:
        return cython.cast(cython.p_longlong, realloc(p, n * 8))
    p = [] if p is None else p
    p.extend([0] * (n - len(p)))
    return p


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _grow_strings(pool: cython.pointer(Pool), n: cython.Py_ssize_t) -> cython.bint:
    """Room for n strings in all, not for their bytes. False when there is no memory."""
    ends: cython.p_int = _more32(pool.ends, n + 1)
    if cython.compiled and not ends:
        return False
    pool.ends = ends
    pool.ends[0] = 0
    valid: cython.p_uchar = _more8(pool.valid, n)
    if cython.compiled and not valid:
        return False
    pool.valid = valid
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _grow_data(pool: cython.pointer(Pool), more: cython.Py_ssize_t) -> cython.bint:
    """Room for `more` bytes and the slack of a copy. False when there is no memory."""
    cap: cython.Py_ssize_t = pool.cap * 2
    if cap < pool.size + more + _PAD:
        cap = pool.size + more + _PAD
    if cap < 1024:
        cap = 1024
    data: cython.p_uchar = _more8(pool.data, cap)
    if cython.compiled and not data:
        return False
    pool.data = data
    pool.cap = cap
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _fill(pool: cython.pointer(Pool), n: cython.Py_ssize_t) -> cython.void:
    """Makes null what nobody pushed, up to n strings."""
    i: cython.Py_ssize_t
    for i in range(pool.filled, n):
        pool.ends[i + 1] = pool.size
        pool.valid[i] = 0
    pool.filled = n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _cut_pool(pool: cython.pointer(Pool), n: cython.Py_ssize_t) -> cython.void:
    """Keeps the first n strings."""
    if pool.filled > n:
        pool.filled = n
        pool.size = pool.ends[n]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _grow_rows(t: cython.pointer(Table)) -> cython.bint:
    n: cython.Py_ssize_t = t.row_cap * 2
    i: cython.Py_ssize_t
    if n < t.row_hint:
        n = t.row_hint
    if n < _SMALLEST:
        n = _SMALLEST
    kind: cython.p_uchar = _more8(t.kind, n)
    if cython.compiled and not kind:
        return False
    t.kind = kind
    update: cython.p_longlong = _more64(t.update, n)
    if cython.compiled and not update:
        return False
    t.update = update
    position: cython.p_longlong = _more64(t.position, n)
    if cython.compiled and not position:
        return False
    t.position = position
    live_ts: cython.p_longlong = _more64(t.live_ts, n)
    if cython.compiled and not live_ts:
        return False
    t.live_ts = live_ts
    live_ttl: cython.p_int = _more32(t.live_ttl, n)
    if cython.compiled and not live_ttl:
        return False
    t.live_ttl = live_ttl
    live_local: cython.p_int = _more32(t.live_local, n)
    if cython.compiled and not live_local:
        return False
    t.live_local = live_local
    del_ts: cython.p_longlong = _more64(t.del_ts, n)
    if cython.compiled and not del_ts:
        return False
    t.del_ts = del_ts
    del_local: cython.p_int = _more32(t.del_local, n)
    if cython.compiled and not del_local:
        return False
    t.del_local = del_local
    cell_end: cython.p_int = _more32(t.cell_end, n)
    if cython.compiled and not cell_end:
        return False
    t.cell_end = cell_end
    for i in range(t.key_parts):
        if not _grow_strings(t.keys[i], n):
            return False
    for i in range(t.clusterings):
        if not _grow_strings(t.prefix[i], n):
            return False
    t.row_cap = n
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _grow_cells(t: cython.pointer(Table)) -> cython.bint:
    n: cython.Py_ssize_t = t.cell_cap * 2
    if n < t.cell_hint:
        n = t.cell_hint
    if n < _SMALLEST:
        n = _SMALLEST
    column: cython.p_int = _more32(t.column, n)
    if cython.compiled and not column:
        return False
    t.column = column
    kind: cython.p_uchar = _more8(t.cell_kind, n)
    if cython.compiled and not kind:
        return False
    t.cell_kind = kind
    ts: cython.p_longlong = _more64(t.cell_ts, n)
    if cython.compiled and not ts:
        return False
    t.cell_ts = ts
    ttl: cython.p_int = _more32(t.cell_ttl, n)
    if cython.compiled and not ttl:
        return False
    t.cell_ttl = ttl
    local: cython.p_int = _more32(t.cell_local, n)
    if cython.compiled and not local:
        return False
    t.cell_local = local
    if not _grow_strings(t.path, n) or not _grow_strings(t.value, n):
        return False
    t.cell_cap = n
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _cut(t: cython.pointer(Table), rows: cython.Py_ssize_t, cells: cython.Py_ssize_t) -> cython.void:
    """Takes back all rows and cells from these on."""
    i: cython.Py_ssize_t
    t.rows = rows
    t.cells = cells
    for i in range(t.key_parts):
        _cut_pool(t.keys[i], rows)
    for i in range(t.clusterings):
        _cut_pool(t.prefix[i], rows)
    _cut_pool(t.path, cells)
    _cut_pool(t.value, cells)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _roll_back(t: cython.pointer(Table)) -> cython.void:
    _cut(t, t.mark_rows, t.mark_cells)
    t.ranges.size = t.mark_ranges


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _bitmap(bits: cython.p_uchar, valid: cython.p_uchar, n: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Sets the bits of the n bytes that are 1, in zeroed memory; returns how many are 0."""
    i: cython.Py_ssize_t
    nulls: cython.Py_ssize_t = 0
    for i in range(n):
        bits[i >> 3] |= valid[i] << (i & 7)
        nulls += 1 - valid[i]
    return nulls


@cython.final
@cython.cclass
class Columns:
    """Columns on their way into a record batch of `count` rows, in the form of Arrow's C data interface."""

    count: cython.Py_ssize_t
    array: cython.p_void
    added: list

    def __init__(self, count: cython.Py_ssize_t, most: cython.Py_ssize_t):
        self.count = count
        self.added = []
        if cython.compiled:
            self.array = arrow_new(count, 0, 1, most)
            if not self.array:
                raise MemoryError

    def __dealloc__(self):
        if cython.compiled and self.array:
            arrow_drop(cython.cast(cython.pointer(ArrowArray), self.array))

    @cython.cfunc
    @cython.exceptval(-1)
    def _add(
        self,
        nulls: cython.Py_ssize_t,
        validity: cython.p_void,
        first: cython.p_void,
        second: cython.p_void,
        n: cython.int,
    ) -> cython.int:
        """Compiled only: a column of n malloc'ed buffers."""
        if cython.compiled:
            array: cython.pointer(ArrowArray) = cython.cast(cython.pointer(ArrowArray), self.array)
            if not arrow_column(array, nulls, validity, first, second, n):
                raise MemoryError
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def numbers8(self, p: cython.p_uchar) -> cython.int:
        if cython.compiled:
            return self._add(0, cython.NULL, p, cython.NULL, 2)
        self.added.append(([None, bytes((p or b"")[: self.count])], 0))
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def numbers32(self, p: cython.p_int, code: str) -> cython.int:
        if cython.compiled:
            return self._add(0, cython.NULL, p, cython.NULL, 2)
        self.added.append(([None, array.array(code, (p or [])[: self.count])], 0))
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def numbers64(self, p: cython.p_longlong) -> cython.int:
        if cython.compiled:
            return self._add(0, cython.NULL, p, cython.NULL, 2)
        self.added.append(([None, array.array("q", (p or [])[: self.count])], 0))
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def strings(self, pool: cython.pointer(Pool)) -> cython.int:
        """A pool's strings, `count` of them; the pool starts anew."""
        bits: cython.p_uchar
        nulls: cython.Py_ssize_t = 0
        n: cython.Py_ssize_t = self.count
        if cython.compiled and (pool.filled == 0 or not pool.ends):
            return self._nulls()
        if n:
            _fill(pool, n)
        if not cython.compiled:
            bits = bytearray((n + 7) // 8)
            nulls = _bitmap(bits, pool.valid, n)
            ends = array.array("i", pool.ends[: n + 1] if pool.ends else [0])
            data = bytes(pool.data[: pool.size]) if pool.size else b""
            self.added.append(([bits, ends, data], nulls))
            pool.ends = pool.valid = pool.data = None
        else:
            bits = cython.NULL
            if n and memchr(pool.valid, 0, n) != cython.NULL:
                bits = cython.cast(cython.p_uchar, calloc((n + 7) // 8, 1))
                if not bits:
                    raise MemoryError
                nulls = _bitmap(bits, pool.valid, n)
            free(pool.valid)
            pool.valid = cython.NULL
            ends_given: cython.p_int = pool.ends
            given: cython.p_uchar = pool.data
            pool.ends = cython.NULL
            pool.data = cython.NULL
            self._add(nulls, bits, ends_given, given, 3)
        pool.size = pool.cap = pool.filled = 0
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _nulls(self) -> cython.int:
        """Compiled only: `count` strings that are all null, which costs next to nothing."""
        if cython.compiled:
            bits: cython.p_void = calloc((self.count + 7) // 8 + 1, 1)
            ends: cython.p_void = calloc(self.count + 1, 4)
            if not bits or not ends:
                free(bits)
                free(ends)
                raise MemoryError
            return self._add(self.count, bits, ends, cython.NULL, 3)
        return 0

    def record_batch(self, schema) -> object:
        """The columns as a record batch of this schema, which owns them; once."""
        import pyarrow as pa

        if cython.compiled:
            return pa.RecordBatch._import_from_c(cython.cast(cython.size_t, self.array), schema)
        arrays = []
        for field, (buffers, nulls) in zip(schema, self.added, strict=True):
            made = [None if one is None else pa.py_buffer(one) for one in buffers]
            arrays.append(pa.Array.from_buffers(field.type, self.count, made, nulls))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


@cython.cfunc
def _new_pool() -> cython.pointer(Pool):
    if cython.compiled:
        return cython.cast(cython.pointer(Pool), calloc(1, cython.sizeof(Pool)))
    return types.SimpleNamespace(data=None, size=0, cap=0, ends=None, valid=None, filled=0)


@cython.cfunc
def _free_pool(pool: cython.pointer(Pool)) -> cython.void:
    if cython.compiled and pool:
        free(pool.data)
        free(pool.ends)
        free(pool.valid)
        free(pool)


@cython.final
@cython.cclass
class TableColumns:
    """The columns of one table's changes. Made by Python, filled by `Kernel`, emptied by `take`."""

    table_id = cython.declare(bytes, visibility="readonly")
    names: dict
    sizes: list
    t: cython.pointer(Table)

    def __init__(self, table_id: bytes, wanted: int, key_parts: int, clustering_sizes: list, names: dict):
        """`wanted` is SKIPPED, WANTED or CONTROL; `clustering_sizes` holds bare lengths, -1 for a vint length;
        `names` maps a column's name bytes to (id, bare length or -1, multi-cell, drop time in µs or -2^63)."""
        i: cython.Py_ssize_t
        self.table_id = table_id
        self.names = names
        self.sizes = clustering_sizes
        if cython.compiled:
            self.t = cython.cast(cython.pointer(Table), calloc(1, cython.sizeof(Table)))
            if not self.t:
                raise MemoryError
            self.t.keys = _pools(key_parts)
            self.t.prefix = _pools(len(clustering_sizes))
        else:
            self.t = types.SimpleNamespace(plans=[], plan_count=0)
            self.t.keys = [_new_pool() for _ in range(key_parts)]
            self.t.prefix = [_new_pool() for _ in clustering_sizes]
            self.t.row_hint = self.t.cell_hint = 0
            self._forget()
        self.t.wanted = wanted
        self.t.key_parts = key_parts
        self.t.clusterings = len(clustering_sizes)
        self.t.clustering_sizes = _more32(self.t.clustering_sizes if cython.compiled else None, len(clustering_sizes))
        for i in range(len(clustering_sizes)):
            self.t.clustering_sizes[i] = clustering_sizes[i]
        self.t.path = _new_pool()
        self.t.value = _new_pool()
        self.t.ranges = _new_pool()
        self.t.last_regular = self.t.last_static = -1
        self.t.stamp = -1

    def __dealloc__(self):
        i: cython.Py_ssize_t
        if cython.compiled and self.t:
            self._free_columns()
            for i in range(self.t.key_parts):
                _free_pool(self.t.keys[i])
            for i in range(self.t.clusterings):
                _free_pool(self.t.prefix[i])
            _free_pool(self.t.path)
            _free_pool(self.t.value)
            _free_pool(self.t.ranges)
            self._free_plans()
            free(self.t.plans)
            free(self.t.keys)
            free(self.t.prefix)
            free(self.t.clustering_sizes)
            free(self.t)

    @cython.cfunc
    def _free_columns(self) -> cython.void:
        if cython.compiled:
            free(self.t.kind)
            free(self.t.update)
            free(self.t.position)
            free(self.t.live_ts)
            free(self.t.live_ttl)
            free(self.t.live_local)
            free(self.t.del_ts)
            free(self.t.del_local)
            free(self.t.cell_end)
            free(self.t.column)
            free(self.t.cell_kind)
            free(self.t.cell_ts)
            free(self.t.cell_ttl)
            free(self.t.cell_local)

    @cython.cfunc
    def _free_plans(self) -> cython.void:
        i: cython.Py_ssize_t
        if cython.compiled:
            for i in range(self.t.plan_count):
                free(self.t.plans[i].raw)
                free(self.t.plans[i].columns)
                free(self.t.plans[i])

    @property
    def rows(self) -> int:
        """Rows waiting to be taken."""
        return self.t.rows

    def take(self) -> tuple:
        """(rows, cells, ranges): two `Columns`, and a list of (start values, inclusive, end values, inclusive). Nothing
        is copied; the columns start anew."""
        i: cython.Py_ssize_t
        t: cython.pointer(Table) = self.t
        rows: Columns = Columns(t.rows, 9 + t.key_parts + t.clusterings)
        cells: Columns = Columns(t.cells, 7)
        if (t.row_cap == 0 and not _grow_rows(t)) or (t.cell_cap == 0 and not _grow_cells(t)):
            raise MemoryError
        t.row_hint = t.rows
        t.cell_hint = t.cells
        ranges = self._ranges()
        try:
            rows.numbers8(t.kind)
            rows.numbers64(t.update)
            rows.numbers64(t.position)
            rows.numbers64(t.live_ts)
            rows.numbers32(t.live_ttl, "i")
            rows.numbers32(t.live_local, "I")
            rows.numbers64(t.del_ts)
            rows.numbers32(t.del_local, "I")
            rows.numbers32(t.cell_end, "i")
            cells.numbers32(t.column, "i")
            cells.numbers8(t.cell_kind)
            cells.numbers64(t.cell_ts)
            cells.numbers32(t.cell_ttl, "i")
            cells.numbers32(t.cell_local, "I")
        finally:
            self._forget()
        for i in range(t.key_parts):
            rows.strings(t.keys[i])
        for i in range(t.clusterings):
            rows.strings(t.prefix[i])
        cells.strings(t.path)
        cells.strings(t.value)
        return rows, cells, ranges

    def discard(self) -> None:
        """Forgets what waits."""
        _cut(self.t, 0, 0)
        self.t.ranges.size = 0

    @cython.cfunc
    def _forget(self) -> cython.void:
        """The columns belong to others now; those of strings forget by themselves."""
        t: cython.pointer(Table) = self.t
        t.rows = t.row_cap = t.cells = t.cell_cap = 0
        if cython.compiled:
            t.kind = t.cell_kind = cython.NULL
            t.update = t.position = t.live_ts = t.del_ts = t.cell_ts = cython.NULL
            t.live_ttl = t.cell_end = t.column = t.cell_ttl = cython.NULL
            t.live_local = t.del_local = t.cell_local = cython.NULL
        else:
            t.kind = t.cell_kind = t.update = t.position = t.live_ts = t.del_ts = t.cell_ts = None
            t.live_ttl = t.cell_end = t.column = t.cell_ttl = t.live_local = t.del_local = t.cell_local = None

    def _ranges(self) -> list:
        pool: cython.pointer(Pool) = self.t.ranges
        data: bytes = b""
        if pool.size:
            data = pool.data[: pool.size] if cython.compiled else bytes(pool.data[: pool.size])
        pool.size = 0
        found = []
        at = 0
        while at < len(data):
            start = at + 10
            end = start + int.from_bytes(data[at + 2 : at + 6], "big")
            stop = end + int.from_bytes(data[at + 6 : at + 10], "big")
            found.append(
                (
                    _bound_values(data[start:end], self.sizes),
                    bool(data[at]),
                    _bound_values(data[end:stop], self.sizes),
                    bool(data[at + 1]),
                )
            )
            at = stop
        return found

    def add_plan(self, raw: bytes, columns: list, static: bool) -> None:
        """A column list that was met for the first time, or since others pushed it out."""
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = len(columns)
        t: cython.pointer(Table) = self.t
        if t.plan_count == _MOST_PLANS:  # clients that write ever new sets of columns
            self._free_plans()
            t.plan_count = 0
            t.last_regular = t.last_static = -1
            if not cython.compiled:
                t.plans = []
        plan: cython.pointer(Plan) = self._new_plan(raw, n)
        for i in range(n):
            column_id, size, multi, dropped = columns[i]
            plan.columns[i].id = column_id
            plan.columns[i].size = size
            plan.columns[i].multi = multi
            plan.columns[i].dropped = dropped
        if static:
            t.last_static = t.plan_count
        else:
            t.last_regular = t.plan_count
        t.plan_count += 1

    @cython.cfunc
    def _new_plan(self, raw: bytes, n: cython.Py_ssize_t) -> cython.pointer(Plan):
        t: cython.pointer(Table) = self.t
        if not cython.compiled:
            made = types.SimpleNamespace(raw=raw, raw_size=len(raw), count=n)
            made.columns = [types.SimpleNamespace() for _ in range(n)]
            t.plans.append(made)
            return made
        if not t.plans:
            t.plans = cython.cast(
                cython.pointer(cython.pointer(Plan)), calloc(_MOST_PLANS, cython.sizeof(cython.pointer(Plan)))
            )
        plan: cython.pointer(Plan) = cython.cast(cython.pointer(Plan), calloc(1, cython.sizeof(Plan)))
        if not t.plans or not plan:
            free(plan)
            raise MemoryError
        source: cython.pointer(cython.const[cython.uchar]) = raw
        plan.raw = cython.cast(cython.p_uchar, calloc(len(raw), 1))
        plan.columns = cython.cast(cython.pointer(Column), calloc(n + 1, cython.sizeof(Column)))
        if not plan.raw or not plan.columns:
            free(plan.raw)
            free(plan.columns)
            free(plan)
            raise MemoryError
        memcpy(plan.raw, source, len(raw))
        plan.raw_size = len(raw)
        plan.count = n
        t.plans[t.plan_count] = plan
        return plan


@cython.cfunc
@cython.exceptval(check=False)
def _pools(n: cython.Py_ssize_t) -> cython.pointer(cython.pointer(Pool)):
    """n empty pools; compiled only."""
    i: cython.Py_ssize_t
    if cython.compiled:
        made: cython.pointer(cython.pointer(Pool)) = cython.cast(
            cython.pointer(cython.pointer(Pool)), calloc(n + 1, cython.sizeof(cython.pointer(Pool)))
        )
        for i in range(n):
            made[i] = _new_pool()
        return made


def _vint_of(data: bytes, at: int) -> tuple:
    """(value, next index) of an unsigned vint in bytes that are known to hold it (6.1)."""
    first = data[at]
    extra = 8 - (first ^ 0xFF).bit_length()
    value = int.from_bytes(data[at + 1 : at + 1 + extra], "big") | (first & (0x7F >> extra)) << 8 * extra
    return value, at + 1 + extra


def _bound_values(raw: bytes, sizes: list) -> list:
    """The values of a bound, as the kernel checked and copied it: a 2-byte count, then a clustering prefix (6.7)."""
    values: list = []
    at, header = 2, 0
    for i in range(int.from_bytes(raw[:2], "big")):
        if i % 32 == 0:
            header, at = _vint_of(raw, at)
        if header & 2:
            values.append(None)
        elif header & 1:
            values.append(b"")
        else:
            size = sizes[i]
            if size < 0:
                size, at = _vint_of(raw, at)
            values.append(raw[at : at + size])
            at += size
        header >>= 2
    return values


@cython.final
@cython.cclass
class Kernel:
    """Reads sections into `TableColumns`, by table id.

    `tables` maps 16-byte ids to TableColumns; `failures` lists the entries that were given up as (kind, offset in the
    section, size, message, table id or None, column or None), kind one of "section", "entry", "table", "column".
    """

    tables: dict
    numbers: dict
    failures: list
    order: list
    table_count: cython.Py_ssize_t
    slots: cython.pointer(cython.pointer(Table))
    high: cython.pointer(cython.ulonglong)
    low: cython.pointer(cython.ulonglong)
    index: cython.p_int
    mask: cython.ulonglong
    touched: cython.p_int
    touched_count: cython.Py_ssize_t
    parts: cython.p_longlong
    last_high: cython.ulonglong
    last_low: cython.ulonglong
    last_number: cython.int
    updates: cython.longlong
    mutations: cython.longlong
    stamp: cython.longlong
    unsigned_local: cython.bint
    p: cython.pointer(cython.const[cython.uchar])
    data: bytes
    end: cython.Py_ssize_t
    at: cython.Py_ssize_t
    size: cython.Py_ssize_t
    v: cython.longlong
    error: cython.int
    error_at: cython.Py_ssize_t
    error_a: cython.longlong
    error_b: cython.longlong
    error_table: cython.int
    error_static: cython.bint
    control: cython.bint
    position: cython.longlong
    min_ts: cython.longlong
    min_local: cython.longlong
    min_ttl: cython.longlong
    live_ts: cython.longlong
    live_ttl: cython.int
    live_local: cython.uint
    waiting_rows: cython.Py_ssize_t
    waiting_bytes: cython.Py_ssize_t

    def __init__(self, tables: dict):
        number: cython.Py_ssize_t
        n: cython.Py_ssize_t = len(tables)
        most: cython.Py_ssize_t = 1
        self.tables = tables
        self.numbers = {}
        self.failures = []
        self.order = list(tables.values())
        self.table_count = n
        self.updates = self.mutations = self.stamp = self.error = 0
        self.waiting_rows = self.waiting_bytes = 0
        self.last_high = self.last_low = 0
        self.last_number = -1
        for columns in self.order:
            most = max(most, cython.cast(TableColumns, columns).t.key_parts)
        if cython.compiled:
            self.parts = cython.cast(cython.p_longlong, calloc(2 * most, 8))
            self.touched = cython.cast(cython.p_int, calloc(n + 1, 4))
            self._index_tables(n)
        else:
            self.parts, self.touched = [0] * (2 * most), [0] * n
            self.slots = [columns.t for columns in self.order]
            for number, table_id in enumerate(tables):
                self.numbers[_be64(table_id, 0), _be64(table_id, 8)] = number

    @cython.cfunc
    def _index_tables(self, n: cython.Py_ssize_t) -> cython.int:
        """An open-addressing hash of the ids: a slot holds a table's number + 1."""
        number: cython.Py_ssize_t = 0
        at: cython.ulonglong
        size: cython.Py_ssize_t = 16
        raw: cython.pointer(cython.const[cython.uchar])
        if cython.compiled:
            while size < 4 * n:
                size *= 2
            self.mask = size - 1
            self.index = cython.cast(cython.p_int, calloc(size, 4))
            self.high = cython.cast(cython.pointer(cython.ulonglong), calloc(n + 1, 8))
            self.low = cython.cast(cython.pointer(cython.ulonglong), calloc(n + 1, 8))
            self.slots = cython.cast(
                cython.pointer(cython.pointer(Table)), calloc(n + 1, cython.sizeof(cython.pointer(Table)))
            )
            if not (self.index and self.high and self.low and self.slots and self.touched and self.parts):
                raise MemoryError
            for table_id in self.tables:
                raw = cython.cast(bytes, table_id)
                self.slots[number] = cython.cast(TableColumns, self.tables[table_id]).t
                self.high[number] = _be64(raw, 0)
                self.low[number] = _be64(raw, 8)
                at = _hash(self.high[number], self.low[number]) & self.mask
                while self.index[at]:
                    at = (at + 1) & self.mask
                number += 1
                self.index[at] = number
        return 0

    def __dealloc__(self):
        if cython.compiled:
            free(self.parts)
            free(self.touched)
            free(self.index)
            free(self.high)
            free(self.low)
            free(self.slots)

    def waiting(self) -> list:
        """The TableColumns that have rows; the caller takes or discards them all, and counting begins anew."""
        self.waiting_rows = self.waiting_bytes = 0
        return [self.order[number] for number in range(self.table_count) if self.slots[number].rows]

    @property
    def failed(self) -> bool:
        """Whether there are failures to be taken."""
        return bool(self.failures)

    def take_failures(self) -> list:
        """The entries given up since the last call, as the class describes."""
        taken, self.failures = self.failures, []
        return taken

    @property
    def mutations_read(self) -> int:
        """Mutations decoded so far, those of tables that nobody wants included."""
        return self.mutations

    # --- a section ---------------------------------------------------------------------------------------------

    def read(
        self,
        data: bytes,
        length: cython.Py_ssize_t,
        start: cython.Py_ssize_t,
        base: cython.longlong,
        after: cython.longlong,
        unsigned_local: cython.bint,
        max_rows: cython.Py_ssize_t,
        max_bytes: cython.Py_ssize_t,
    ) -> tuple:
        """Reads entries of a section, the first `length` bytes of `data`, from `start` on; at least `SLACK` bytes must
        follow. The entry ending at index i has position base + i; those not beyond `after` are passed over.

        Stops at the section's end, behind an entry of a CONTROL table, or before an entry when `max_rows` rows or
        `max_bytes` bytes of keys and values wait to be taken. Returns (next start, state): DONE, FULL, ENDED (a zero
        size or a rest of under 4 bytes, where Cassandra's reader ends the segment), _GIVEN_UP (the last of `failures`
        says why) or CONTROLLED.
        """
        state: cython.int
        if length < 0 or len(data) < length + _PAD or start < 0:
            raise ValueError(f"expected {length} + {_PAD} bytes and a start inside, found {len(data)} and {start}")
        self.data = data
        self.p = data
        self.end = length
        self.unsigned_local = unsigned_local
        self.at = start
        while True:
            with cython.nogil:
                state = self._entries(length, base, after, max_rows, max_bytes)
            if state == _RESOLVE:
                if self._resolve():
                    continue
                state = _DAMAGED
            elif state == _DAMAGED or state == _GIVEN_UP:
                self._damaged()
            if state != _DAMAGED:
                return self.at, state
            self.at += self.size + 12

    def walk(self, data: bytes, length: cython.Py_ssize_t, checked: cython.bint) -> int:
        """The number of entries of a section, read as `read` does, up to the first that is damaged: framing alone, or
        with both CRCs. For counting, and to tell in a benchmark what they cost."""
        found: cython.Py_ssize_t
        if length < 0 or len(data) < length + _PAD:
            raise ValueError(f"expected {length} + {_PAD} bytes, found {len(data)}")
        self.data = data
        self.p = data
        with cython.nogil:
            found = self._walk(length, checked)
        return found

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _walk(self, length: cython.Py_ssize_t, checked: cython.bint) -> cython.Py_ssize_t:
        at: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t
        crc: cython.uint
        found: cython.Py_ssize_t = 0
        while length - at >= 8:
            size = _signed32(_be32(self.p, at))
            if size < 10 or size > length - at - 12:
                break
            if checked:
                crc = self._crc(0, at, 4)
                if crc != _be32(self.p, at + 4):
                    break
                if self._crc(crc, at + 8, size) != _be32(self.p, at + 8 + size):
                    break
            at += size + 12
            found += 1
        return found

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _entries(
        self,
        length: cython.Py_ssize_t,
        base: cython.longlong,
        after: cython.longlong,
        max_rows: cython.Py_ssize_t,
        max_bytes: cython.Py_ssize_t,
    ) -> cython.int:
        """Entry by entry (5); returns a state."""
        at: cython.Py_ssize_t = self.at
        size: cython.Py_ssize_t
        crc: cython.uint
        while True:
            self.at = at
            if at >= length:
                return _DONE
            if length - at < 4:
                return _ENDED
            size = _signed32(_be32(self.p, at))
            if size == 0:
                return _ENDED
            self.size = size
            if size < 10:
                return self._bad_entry(1, size, 0)
            if length - at < 8:
                return self._bad_entry(2, 0, 0)
            crc = self._crc(0, at, 4)
            if crc != _be32(self.p, at + 4):
                return self._bad_entry(3, crc, _be32(self.p, at + 4))
            if size > length - at - 12:
                return self._bad_entry(4, size, 0)
            if base + at + size + 12 > after:
                if self.waiting_rows >= max_rows or self.waiting_bytes >= max_bytes:
                    return _FULL
                crc = self._crc(crc, at + 8, size)
                if crc != _be32(self.p, at + 8 + size):
                    return self._bad_entry(5, crc, _be32(self.p, at + 8 + size))
                if not self._mutation_at(at + 8, size, base + at + size + 12):
                    return _RESOLVE if self.error == _COLUMN_LIST and self.error_table >= 0 else _DAMAGED
                if self.control:
                    self.at = at + size + 12
                    return _CONTROLLED
            at += size + 12

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _bad_entry(self, what: cython.int, a: cython.longlong, b: cython.longlong) -> cython.int:
        self.error = -what
        self.error_at = self.at
        self.error_a = a
        self.error_b = b
        return _DAMAGED if what == 5 else _GIVEN_UP

    def _damaged(self):
        """Puts the failure of the entry at `at` on the list."""
        kind, at, size, table_id = "entry", self.error_at, self.size, None
        a, b = self.error_a, self.error_b
        if self.error < 0:
            kind, size = ("entry", size) if self.error == -5 else ("section", 0)
            message = (
                f"entry size expected at least 10, found {a}",
                "an entry runs past its section",
                f"size CRC expected {a:08x}, found {b:08x}",
                f"an entry of {a} bytes runs past its section",
                f"mutation CRC expected {a:08x}, found {b:08x}",
            )[-1 - self.error]
        elif self.error == _TABLE:
            kind, at, message = "table", self.at, ""
            table_id = self.data[self.error_at : self.error_at + 16]
        elif self.error == _MEMORY:
            raise MemoryError(f"a mutation of {size} bytes")
        else:
            message = _MESSAGES[self.error].format(a=a, b=b)
        self.failures.append((kind, at, size, message, table_id, None))

    def _resolve(self) -> bool:
        """Makes the plan of the column list at `error_at`; False when it cannot be, and then a failure says why."""
        columns: TableColumns = self.order[self.error_table]
        start: cython.Py_ssize_t = self.error_at
        self.error = 0
        at: cython.Py_ssize_t = self._vint(start)
        count: cython.longlong = self.v
        found = []
        while count and not self.error:
            at = self._size(at)
            name = self.data[at : at + self.v]
            at += self.v
            known = columns.names.get(name)
            if not self.error and known is None:
                self.failures.append(("column", self.at, self.size, "", columns.table_id, name))
                return False
            found.append(known)
            count -= 1
        if self.error:
            self._damaged()
            return False
        columns.add_plan(self.data[start:at], found, self.error_static)
        return True

    # --- reading -----------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _fail(
        self, code: cython.int, at: cython.Py_ssize_t, a: cython.longlong, b: cython.longlong
    ) -> cython.Py_ssize_t:
        """Keeps the first failure; returns the end, so that every read behind it fails too."""
        if not self.error:
            self.error = code
            self.error_at = at
            self.error_a = a
            self.error_b = b
            self.error_table = -1
        self.v = 0
        return self.end

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _u8(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A byte into `v`; returns the next position, as all of these do."""
        if pos >= self.end:
            return self._fail(_SHORT, pos, 1, self.end - pos)
        self.v = self.p[pos]
        return pos + 1

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _u16(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        if self.end - pos < 2:
            return self._fail(_SHORT, pos, 2, self.end - pos)
        self.v = (self.p[pos] << 8) | self.p[pos + 1]
        return pos + 2

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _vint(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """An unsigned vint (6.1) as its 64-bit pattern: 2^63 and more come out negative."""
        if pos < self.end and self.p[pos] < 128:
            self.v = self.p[pos]
            return pos + 1
        return self._long_vint(pos)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _long_vint(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        first: cython.int
        extra: cython.int = 1
        i: cython.int
        v: cython.ulonglong
        if pos >= self.end:
            return self._fail(_SHORT, pos, 1, 0)
        first = self.p[pos]
        while extra < 8 and first & (128 >> extra):
            extra += 1
        if self.end - pos < 1 + extra:
            return self._fail(_SHORT, pos, 1 + extra, self.end - pos)
        v = first & (127 >> extra)
        for i in range(1, extra + 1):
            v = (v << 8) | self.p[pos + i]
        self.v = _signed64(v)
        return pos + 1 + extra

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _size(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A vint length, checked against what is left."""
        pos = self._vint(pos)
        if self.v < 0 or self.v > self.end - pos:
            return self._fail(_LENGTH, pos, self.v, self.end - pos)
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _value_size(self, pos: cython.Py_ssize_t, size: cython.int) -> cython.Py_ssize_t:
        """The length of a value whose type has the bare length `size`, or -1 for a vint length (6.10)."""
        if size < 0:
            return self._size(pos)
        if size > self.end - pos:
            return self._fail(_SHORT, pos, size, self.end - pos)
        self.v = size
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _timestamp(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        pos = self._vint(pos)
        self.v = _add64(self.v, self.min_ts)
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _local(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A local deletion time, s (6.5): signed in segment versions 6 and 7, unsigned from 8 on."""
        pos = self._vint(pos)
        self.v = _signed32(_add64(self.v, self.min_local))
        if self.v < 0:
            self.v = self.v + _WRAP if self.unsigned_local else _INVALID_LOCAL
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _ttl(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        pos = self._vint(pos)
        self.v = _signed32(_add64(self.v, self.min_ttl))
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _crc(self, crc: cython.uint, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.uint:
        """CRC-32 of n bytes at `at`, continued from `crc`; when compiled, folded by 16 bytes where the CPU
        can, the rest slicing-by-8; zlib's when not. (zlib's own is made for long runs, and 3 times slower here.)"""
        if not cython.compiled:
            return zlib.crc32(memoryview(self.data)[at : at + n], crc)
        p: cython.pointer(cython.const[cython.uchar]) = self.p
        stop: cython.Py_ssize_t = at + n
        c: cython.uint = ~crc
        d: cython.uint
        if _FOLDS and n >= 16:
            c = crc32_fold(c, cython.address(p[at]), n & ~15)
            at += n & ~15
        while stop - at >= 8:
            c ^= (
                p[at]
                | (cython.cast(cython.uint, p[at + 1]) << 8)
                | (cython.cast(cython.uint, p[at + 2]) << 16)
                | (cython.cast(cython.uint, p[at + 3]) << 24)
            )
            d = (
                p[at + 4]
                | (cython.cast(cython.uint, p[at + 5]) << 8)
                | (cython.cast(cython.uint, p[at + 6]) << 16)
                | (cython.cast(cython.uint, p[at + 7]) << 24)
            )
            c = (
                _CRC[1792 + (c & 255)]
                ^ _CRC[1536 + ((c >> 8) & 255)]
                ^ _CRC[1280 + ((c >> 16) & 255)]
                ^ _CRC[1024 + (c >> 24)]
                ^ _CRC[768 + (d & 255)]
                ^ _CRC[512 + ((d >> 8) & 255)]
                ^ _CRC[256 + ((d >> 16) & 255)]
                ^ _CRC[d >> 24]
            )
            at += 8
        if stop - at >= 4:
            c ^= (
                p[at]
                | (cython.cast(cython.uint, p[at + 1]) << 8)
                | (cython.cast(cython.uint, p[at + 2]) << 16)
                | (cython.cast(cython.uint, p[at + 3]) << 24)
            )
            c = _CRC[768 + (c & 255)] ^ _CRC[512 + ((c >> 8) & 255)] ^ _CRC[256 + ((c >> 16) & 255)] ^ _CRC[c >> 24]
            at += 4
        while at < stop:
            c = (c >> 8) ^ _CRC[(c ^ p[at]) & 255]
            at += 1
        return ~c

    # --- storing -----------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _push(
        self, pool: cython.pointer(Pool), i: cython.Py_ssize_t, pos: cython.Py_ssize_t, n: cython.Py_ssize_t
    ) -> cython.void:
        """Makes the input's n bytes at `pos` string i of a pool; those before it that nobody pushed are null."""
        if pool.filled < i:
            _fill(pool, i)
        if pool.size + n + _PAD > pool.cap and not self._room(pool, n):
            return
        self._copy(pool, pos, n)
        pool.ends[i + 1] = pool.size
        pool.valid[i] = 1
        pool.filled = i + 1

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _copy(self, pool: cython.pointer(Pool), pos: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.void:
        """Appends to a pool with room; short strings as 32 bytes, which both sides have (`SLACK`)."""
        if cython.compiled:
            if n <= 32:
                memcpy(cython.address(pool.data[pool.size]), cython.address(self.p[pos]), 32)
            else:
                memcpy(cython.address(pool.data[pool.size]), cython.address(self.p[pos]), n)
        else:
            pool.data[pool.size : pool.size + n] = self.p[pos : pos + n]
        pool.size += n

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _room(self, pool: cython.pointer(Pool), n: cython.Py_ssize_t) -> cython.bint:
        if pool.size + n > _LARGEST_POOL:  # Arrow's offsets are 32-bit
            self._fail(_LARGE, self.error_at, 0, 0)
            return False
        if not _grow_data(pool, n):
            self._fail(_MEMORY, self.error_at, 0, 0)
            return False
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _new_row(self, t: cython.pointer(Table), kind: cython.int) -> cython.bint:
        """Begins row `t.rows`, with its key, no liveness and no deletion. False when there is no memory."""
        i: cython.Py_ssize_t
        n: cython.Py_ssize_t = t.rows
        if n == t.row_cap and not _grow_rows(t):
            self._fail(_MEMORY, self.error_at, 0, 0)
            return False
        t.kind[n] = kind
        t.update[n] = self.updates
        t.position[n] = self.position
        t.live_ts[n] = _NONE
        t.live_ttl[n] = 0
        t.live_local[n] = 0
        t.del_ts[n] = _NONE
        t.del_local[n] = 0
        for i in range(t.key_parts):
            self._push(t.keys[i], n, self.parts[2 * i], self.parts[2 * i + 1])
        return True

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _end_row(self, t: cython.pointer(Table)) -> cython.void:
        t.cell_end[t.rows] = t.cells
        t.rows += 1

    # --- a mutation --------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _mutation_at(self, pos: cython.Py_ssize_t, size: cython.Py_ssize_t, position: cython.longlong) -> cython.bint:
        """One mutation (6.2), all or nothing; False when it failed, and `error` says why."""
        first_update: cython.longlong = self.updates
        self.end = pos + size
        self.position = position
        self.touched_count = 0
        self.stamp += 1
        self.error = 0
        self.control = False
        if not self._cheap_skip(pos):
            self._updates(pos)
        if self.error:
            self._take_back()
            self.updates = first_update
            return False
        self._keep()
        self.mutations += 1
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _updates(self, pos: cython.Py_ssize_t) -> cython.void:
        count: cython.longlong
        pos = self._vint(pos)
        count = self.v
        if count < 1 or count > self.end - pos:
            pos = self._fail(_UPDATES, pos, count, 0)
        while count and not self.error:
            pos = self._update(pos)
            count -= 1
        if pos != self.end:
            self._fail(_REST, pos, self.end - pos, 0)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _take_back(self) -> cython.void:
        i: cython.Py_ssize_t
        for i in range(self.touched_count):
            _roll_back(self.slots[self.touched[i]])

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _keep(self) -> cython.void:
        """Counts what a good mutation added, and drops what nobody wants of it."""
        i: cython.Py_ssize_t
        t: cython.pointer(Table)
        for i in range(self.touched_count):
            t = self.slots[self.touched[i]]
            if t.wanted == _SKIPPED:
                _roll_back(t)
                continue
            self.waiting_rows += t.rows - t.mark_rows
            self.waiting_bytes += self.size
            if t.wanted == _CONTROL:
                self.control = True

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _cheap_skip(self, pos: cython.Py_ssize_t) -> cython.bint:
        """Whether the mutation has a single update, of a table that nobody wants: nothing need be decoded (8.2)."""
        number: cython.int
        if self.p[pos] != 1 or self.end - pos < 17:
            return False
        number = self._find(pos + 1)
        if number < 0 or self.slots[number].wanted != _SKIPPED:
            return False
        return True

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _find(self, pos: cython.Py_ssize_t) -> cython.int:
        """The number of the table whose id is at `pos`, where 16 bytes are; -1 when there is none."""
        high: cython.ulonglong = _be64(self.p, pos)
        low: cython.ulonglong = _be64(self.p, pos + 8)
        if high == self.last_high and low == self.last_low and self.last_number >= 0:
            return self.last_number
        number: cython.int = self._look_up(high, low)
        self.last_high = high
        self.last_low = low
        self.last_number = number
        return number

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _look_up(self, high: cython.ulonglong, low: cython.ulonglong) -> cython.int:
        at: cython.ulonglong
        number: cython.int
        if cython.compiled:
            at = _hash(high, low) & self.mask
            while self.index[at]:
                number = self.index[at] - 1
                if self.high[number] == high and self.low[number] == low:
                    return number
                at = (at + 1) & self.mask
            return -1
        return self.numbers.get((high, low), -1)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _update(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """One partition update (6.3)."""
        flags: cython.int
        static_plan: cython.Py_ssize_t = 0
        regular: cython.Py_ssize_t
        rows: cython.Py_ssize_t
        number: cython.int
        t: cython.pointer(Table)
        if self.end - pos < 16:
            return self._fail(_SHORT, pos, 16, self.end - pos)
        number = self._find(pos)
        if number < 0:
            return self._fail(_TABLE, pos, 0, 0)
        t = self.slots[number]
        if t.stamp != self.stamp:
            t.stamp = self.stamp
            t.mark_rows = t.rows
            t.mark_cells = t.cells
            t.mark_ranges = t.ranges.size
            self.touched[self.touched_count] = number
            self.touched_count += 1
        self.updates += 1
        pos = self._split_key(t, pos + 16)
        rows = t.rows
        pos = self._u8(pos)
        flags = self.v
        if flags & 0x02:
            return self._fail(_REVERSED, pos - 1, 0, 0)
        if not flags & 0x01:
            pos = self._vint(pos)
            self.min_ts = _add64(self.v, _EPOCH_MICROS)
            pos = self._vint(pos)
            self.min_local = _add64(self.v, _EPOCH_SECONDS)
            pos = self._vint(pos)
            self.min_ttl = self.v
            if flags & 0x08:
                pos = self._column_list(t, number, pos, True)
                static_plan = self.v
            pos = self._column_list(t, number, pos, False)
            regular = self.v
            if self.error:
                return pos
            if flags & 0x04 and self._new_row(t, _PARTITION):
                pos = self._deletion(t, pos)
                self._end_row(t)
            if flags & 0x08:
                pos = self._static_row(t, t.plans[static_plan], pos)
            if flags & 0x10:
                pos = self._vint(pos)
            pos = self._rows(t, t.plans[regular], pos)
        if t.rows == rows and not self.error and self._new_row(t, _NOTHING):
            self._end_row(t)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _split_key(self, t: cython.pointer(Table), pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The partition key's parts as (start, length) pairs in `parts`; composite keys as in section 7."""
        stop: cython.Py_ssize_t
        length: cython.Py_ssize_t
        part: cython.Py_ssize_t
        pos = self._size(pos)
        stop = pos + self.v
        if t.key_parts == 1:
            self.parts[0] = pos
            self.parts[1] = stop - pos
            return stop
        for part in range(t.key_parts):
            pos = self._u16(pos)
            length = self.v
            if length + 1 > stop - pos:
                return self._fail(_KEY_RUNS, pos, part + 1, 0)
            self.parts[2 * part] = pos
            self.parts[2 * part + 1] = length
            pos += length + 1
        if pos != stop:
            return self._fail(_KEY_MORE, pos, t.key_parts, 0)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _column_list(
        self, t: cython.pointer(Table), number: cython.int, pos: cython.Py_ssize_t, static: cython.bint
    ) -> cython.Py_ssize_t:
        """The number of the plan of a header's column list into `v`; a list that is not known goes to `_resolve`.

        A list is self-delimiting, so equal leading bytes are an equal list.
        """
        i: cython.Py_ssize_t
        last: cython.Py_ssize_t = t.last_static if static else t.last_regular
        if last >= 0 and self._is_list(t.plans[last], pos):
            self.v = last
            return pos + t.plans[last].raw_size
        for i in range(t.plan_count):
            if self._is_list(t.plans[i], pos):
                if static:
                    t.last_static = i
                else:
                    t.last_regular = i
                self.v = i
                return pos + t.plans[i].raw_size
        self._vint(pos)
        if self.error:
            return self.end
        if self.v < 0 or self.v > self.end - pos:
            return self._fail(_COLUMN_LIST, pos, self.v, 0)
        self._fail(_COLUMN_LIST, pos, 0, 0)
        self.error_table = number
        self.error_static = static
        return self.end

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _is_list(self, plan: cython.pointer(Plan), pos: cython.Py_ssize_t) -> cython.bint:
        if plan.raw_size > self.end - pos:
            return False
        if cython.compiled:
            return memcmp(cython.address(self.p[pos]), plan.raw, plan.raw_size) == 0
        return self.p[pos : pos + plan.raw_size] == plan.raw

    # --- rows --------------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _deletion(self, t: cython.pointer(Table), pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A deletion time (6.4) of the row that was begun: timestamp, then local deletion time."""
        pos = self._timestamp(pos)
        t.del_ts[t.rows] = self.v
        pos = self._local(pos)
        t.del_local[t.rows] = self.v
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _static_row(
        self, t: cython.pointer(Table), plan: cython.pointer(Plan), pos: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        flags: cython.int
        pos = self._u8(pos)
        flags = self.v
        if flags & 0x80:
            pos = self._u8(pos)
        if not flags & 0x80 or not self.v & 0x01:
            return self._fail(_NOT_STATIC, pos - 1, flags, 0)
        if not self._new_row(t, _STATIC):
            return self.end
        return self._row_body(t, plan, pos, flags)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _rows(self, t: cython.pointer(Table), plan: cython.pointer(Plan), pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Rows and range tombstone markers until the end of the partition."""
        flags: cython.int
        opened: cython.Py_ssize_t = -1  # where the bound lies that opened a range tombstone
        inclusive: cython.int = 0
        kind: cython.int
        bound: cython.Py_ssize_t
        while not self.error:
            pos = self._u8(pos)
            flags = self.v
            if self.error or flags & 0x01:
                break
            if flags & 0x02:
                pos = self._u8(pos)
                kind = self.v
                bound = pos
                pos = self._marker(t, pos, kind, opened, inclusive)
                opened = -1 if kind == 0 or kind == 6 else bound
                inclusive = kind == 1 or kind == 2
                continue
            if flags & 0x80:
                pos = self._u8(pos)
                if self.v & 0x01:
                    return self._fail(_STATIC_AMONG, pos - 1, 0, 0)
            if self._new_row(t, _ROW):
                pos = self._clustering(t, pos)
                pos = self._row_body(t, plan, pos, flags)
        if opened >= 0:
            return self._fail(_NOT_CLOSED, pos, 0, 0)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _clustering(self, t: cython.pointer(Table), pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """All clustering values (6.7): a header vint of two bits per value for each 32."""
        header: cython.longlong = 0
        i: cython.Py_ssize_t
        for i in range(t.clusterings):
            if i % 32 == 0:
                pos = self._vint(pos)
                header = self.v
            if header & 2:
                pass  # null: what nobody pushes
            elif header & 1:
                self._push(t.prefix[i], t.rows, pos, 0)
            else:
                pos = self._value_size(pos, t.clustering_sizes[i])
                self._push(t.prefix[i], t.rows, pos, self.v)
                pos += self.v
            header >>= 2
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _row_body(
        self, t: cython.pointer(Table), plan: cython.pointer(Plan), pos: cython.Py_ssize_t, flags: cython.int
    ) -> cython.Py_ssize_t:
        """Liveness, deletion, cells (6.6); a row that says nothing, dropped columns taken out, is taken back."""
        first_cell: cython.Py_ssize_t = t.cells
        n: cython.Py_ssize_t = t.rows
        i: cython.Py_ssize_t
        bits: cython.longlong = 0
        self.live_ts = _NONE
        self.live_ttl = 0
        self.live_local = 0
        if flags & 0x04:
            pos = self._timestamp(pos)
            self.live_ts = self.v
            t.live_ts[n] = self.v
            if flags & 0x08:
                pos = self._ttl(pos)
                self.live_ttl = self.v
                t.live_ttl[n] = self.v
                pos = self._local(pos)
                self.live_local = self.v
                t.live_local[n] = self.v
        if flags & 0x10:
            pos = self._deletion(t, pos)
        if not flags & 0x20:
            pos = self._vint(pos)
            bits = self.v
        if bits == 0:
            for i in range(plan.count):
                pos = self._numbered(t, plan, i, pos, flags)
        elif plan.count < 64:
            if bits < 0 or bits >> plan.count:
                return self._fail(_SUBSET, pos, plan.count, 0)
            for i in range(plan.count):
                if not (bits >> i) & 1:
                    pos = self._numbered(t, plan, i, pos, flags)
        else:
            pos = self._large_subset(t, plan, bits, pos, flags)
        if self.error:
            return self.end
        if t.cells == first_cell and self.live_ts == _NONE and not flags & 0x10:
            _cut(t, n, first_cell)
        else:
            self._end_row(t)
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _numbered(
        self,
        t: cython.pointer(Table),
        plan: cython.pointer(Plan),
        i: cython.Py_ssize_t,
        pos: cython.Py_ssize_t,
        flags: cython.int,
    ) -> cython.Py_ssize_t:
        """What a row holds of column i of the list."""
        if cython.compiled:
            return self._column(t, cython.address(plan.columns[i]), pos, flags)
        return self._column(t, plan.columns[i], pos, flags)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _large_subset(
        self,
        t: cython.pointer(Table),
        plan: cython.pointer(Plan),
        missing: cython.longlong,
        pos: cython.Py_ssize_t,
        flags: cython.int,
    ) -> cython.Py_ssize_t:
        """A subset of 64 or more columns (6.8): the present ones by index, or the missing ones, ascending.

        The indexes stand together before the cells, so they are read a second time while the cells are."""
        present: cython.longlong = plan.count - missing
        listed: cython.longlong
        indexes: cython.Py_ssize_t = pos
        i: cython.longlong
        index: cython.longlong = -1
        left: cython.longlong
        if missing < 0 or present < 0:
            return self._fail(_MISSING, pos, missing, plan.count)
        listed = present if present < plan.count // 2 else missing
        left = listed
        while left and not self.error:
            pos = self._vint(pos)
            if self.v <= index or self.v >= plan.count:
                return self._fail(_INDEX, pos, self.v, plan.count)
            index = self.v
            left -= 1
        index = -1
        left = listed
        for i in range(plan.count):
            if index < i and left:
                indexes = self._vint(indexes)
                index = self.v
                left -= 1
            if (index == i) == (present < plan.count // 2):
                pos = self._numbered(t, plan, i, pos, flags)
        return pos

    # --- cells -------------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _column(
        self, t: cython.pointer(Table), column: cython.pointer(Column), pos: cython.Py_ssize_t, flags: cython.int
    ) -> cython.Py_ssize_t:
        if column.multi:
            return self._multi_cell(t, column, pos, flags)
        return self._cell(t, column, pos)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _multi_cell(
        self, t: cython.pointer(Table), column: cython.pointer(Column), pos: cython.Py_ssize_t, flags: cython.int
    ) -> cython.Py_ssize_t:
        """The deletion of a whole column, where the row has such, and its cells."""
        count: cython.longlong
        if flags & 0x40:
            pos = self._column_deletion(t, column, pos)
        pos = self._vint(pos)
        count = self.v
        if count < 0 or count > self.end - pos:
            return self._fail(_CELLS, pos, count, 0)
        while count and not self.error:
            pos = self._cell(t, column, pos)
            count -= 1
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _column_deletion(
        self, t: cython.pointer(Table), column: cython.pointer(Column), pos: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        ts: cython.longlong
        pos = self._timestamp(pos)
        ts = self.v
        pos = self._local(pos)
        if ts != _NONE and ts > column.dropped and self._cell_room(t):
            t.column[t.cells] = column.id
            t.cell_kind[t.cells] = _COLUMN_DELETION
            t.cell_ts[t.cells] = ts
            t.cell_ttl[t.cells] = 0
            t.cell_local[t.cells] = self.v
            t.cells += 1
        return pos

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _cell_room(self, t: cython.pointer(Table)) -> cython.bint:
        if t.cells == t.cell_cap and not _grow_cells(t):
            self._fail(_MEMORY, self.error_at, 0, 0)
            return False
        return True

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _cell(
        self, t: cython.pointer(Table), column: cython.pointer(Column), pos: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """One cell (6.9): flags, timestamp, local deletion time, TTL, path, value."""
        flags: cython.int
        kind: cython.int
        ts: cython.longlong = self.live_ts
        ttl: cython.int = 0
        local: cython.uint = 0
        path: cython.Py_ssize_t = 0
        path_size: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t = 0
        n: cython.Py_ssize_t = t.cells
        pos = self._u8(pos)
        flags = self.v
        kind = flags & 3
        if kind == 3:
            return self._fail(_BOTH, pos - 1, 0, 0)
        if not flags & 0x08:
            pos = self._timestamp(pos)
            ts = self.v
        elif ts == _NONE:
            return self._fail(_NO_ROW_TIME, pos - 1, 0, 0)
        if kind:
            if flags & 0x10:
                local = self.live_local
                ttl = self.live_ttl if kind == _EXPIRING else 0
            else:
                pos = self._local(pos)
                local = self.v
                if kind == _EXPIRING:
                    pos = self._ttl(pos)
                    ttl = self.v
        if column.multi:
            pos = self._size(pos)
            path = pos
            path_size = self.v
            pos += path_size
        if not flags & 0x04:
            pos = self._value_size(pos, column.size)
            size = self.v
        if self.error:
            return self.end
        if ts > column.dropped and self._cell_room(t):
            t.column[n] = column.id
            t.cell_kind[n] = kind
            t.cell_ts[n] = ts
            t.cell_ttl[n] = ttl
            t.cell_local[n] = local
            if column.multi:
                self._push(t.path, n, path, path_size)
            if kind != _TOMBSTONE:
                self._push(t.value, n, pos, size)
            t.cells = n + 1
        return pos + size

    # --- range tombstones --------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _marker(
        self,
        t: cython.pointer(Table),
        pos: cython.Py_ssize_t,
        kind: cython.int,
        opened: cython.Py_ssize_t,
        inclusive: cython.int,
    ) -> cython.Py_ssize_t:
        """A bound or a boundary (6.7) at `pos`; `opened` is where the bound lies that is open, or -1. A range becomes
        a row where it is closed."""
        bound: cython.Py_ssize_t = pos
        if kind > 7 or kind == 3 or kind == 4:
            return self._fail(_BOUND, pos - 1, kind, 0)
        pos = self._bound(t, pos)
        if kind == 1 or kind == 7:
            if opened >= 0:
                return self._fail(_OPENED, pos, 0, 0)
            pos = self._timestamp(pos)
            return self._local(pos)
        if opened < 0:
            return self._fail(_NOT_OPENED, pos, 0, 0)
        if self.error or not self._new_row(t, _RANGE):
            return self.end
        self._push_range(t, opened, inclusive, bound, pos, kind == 5 or kind == 6)
        pos = self._deletion(t, pos)
        self._end_row(t)
        if kind == 2 or kind == 5:
            pos = self._timestamp(pos)
            pos = self._local(pos)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _bound(self, t: cython.pointer(Table), pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Passes over the values of a bound: a 2-byte count, then a clustering prefix of that many."""
        count: cython.Py_ssize_t
        i: cython.Py_ssize_t
        header: cython.longlong = 0
        pos = self._u16(pos)
        count = self.v
        if count > t.clusterings:
            return self._fail(_BOUND_VALUES, pos, count, t.clusterings)
        for i in range(count):
            if i % 32 == 0:
                pos = self._vint(pos)
                header = self.v
            if not header & 3:
                pos = self._value_size(pos, t.clustering_sizes[i])
                pos += self.v
            header >>= 2
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _push_range(
        self,
        t: cython.pointer(Table),
        start: cython.Py_ssize_t,
        start_inclusive: cython.int,
        end: cython.Py_ssize_t,
        stop: cython.Py_ssize_t,
        end_inclusive: cython.int,
    ) -> cython.void:
        """A record of two bounds as they were written: inclusive or not, two 4-byte lengths, their bytes."""
        pool: cython.pointer(Pool) = t.ranges
        first: cython.Py_ssize_t = self._bound(t, start) - start  # read before, so it does not fail
        second: cython.Py_ssize_t = stop - end
        at: cython.Py_ssize_t = pool.size
        if at + first + second + 10 + 2 * _PAD > pool.cap and not self._room(pool, first + second + 10 + _PAD):
            return
        pool.data[at] = start_inclusive != 0
        pool.data[at + 1] = end_inclusive != 0
        _put32(pool.data, at + 2, first)
        _put32(pool.data, at + 6, second)
        pool.size += 10
        self._copy(pool, start, first)
        self._copy(pool, end, second)
