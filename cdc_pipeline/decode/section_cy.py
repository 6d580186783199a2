"""The loop over a section: entries, mutations, partition updates, rows and cells into growable columns.

One source: compiled by Cython when the package is built, interpreted where no compiler is. It makes no Python
object per mutation, row or cell; the columns become Arrow arrays without a copy. Byte rules: sections 5 and 6 of
the format document; the numbers in the comments below are its sections.

Every read goes through `_need`, which compares with the end of the section, so that an out-of-range read is
impossible whatever the lengths in the bytes say. A mutation is a transaction: what it added is taken back when it
turns out to be damaged.
"""

import zlib

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcmp, memcpy

COMPILED = cython.compiled

NO_TIMESTAMP = -(2**63)
"""Stands for "no liveness" and "no deletion"; Cassandra writes the same number for a deletion that is not there."""

ROW, STATIC, RANGE, PARTITION, NOTHING = 0, 1, 2, 3, 4
"""Kinds of a row of the batch; NOTHING stands for an update that says nothing, and only the dump shows it."""

LIVE, TOMBSTONE, EXPIRING, COLUMN_DELETION = 0, 1, 2, 3
"""Kinds of a cell; COLUMN_DELETION is the deletion of a whole multi-cell column."""

_EPOCH_MICROS = 1442880000000000
_EPOCH_SECONDS = 1442880000
_INVALID_LOCAL = 4294967294
_MINIMUM_ENTRY = 10

_MISS = cython.declare(cython.int, -2)

if cython.compiled:
    _CRC = cython.declare(cython.uint[2048])


class Malformed(Exception):
    """Bytes that break the grammar at `offset` of the section: a message without values."""

    def __init__(self, offset: int, message: str):
        super().__init__(message)
        self.offset = offset


class Unknown(Exception):
    """A table or a column that the schema at hand lacks."""

    def __init__(self, table_id: bytes, column: bytes | None):
        super().__init__()
        self.table_id = table_id
        self.column = column


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


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _signed64(v: cython.ulonglong) -> cython.longlong:
    if cython.compiled:
        return cython.cast(cython.longlong, v)
    v &= 0xFFFFFFFFFFFFFFFF
    return v - 0x10000000000000000 if v >> 63 else v


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _add64(a: cython.longlong, b: cython.longlong) -> cython.longlong:
    """a + b modulo 2^64 (6.1: all delta arithmetic)."""
    if cython.compiled:
        return cython.cast(cython.longlong, cython.cast(cython.ulonglong, a) + cython.cast(cython.ulonglong, b))
    return _signed64(a + b)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _signed32(v: cython.longlong) -> cython.longlong:
    v = v & 0xFFFFFFFF if not cython.compiled else cython.cast(cython.longlong, cython.cast(cython.uint, v))
    return v - 4294967296 if v > 2147483647 else v


@cython.final
@cython.cclass
class Longs:
    """A growable column of 64-bit integers."""

    owner: object
    p: cython.p_longlong
    n: cython.Py_ssize_t
    cap: cython.Py_ssize_t

    def __init__(self, capacity: cython.Py_ssize_t = 256):
        self.n = 0
        self._own(np.empty(capacity, np.int64))

    @cython.cfunc
    def _own(self, owner: object) -> cython.int:
        self.owner = owner
        self.cap = len(owner)
        if cython.compiled:
            self.p = cython.cast(cython.p_longlong, cython.cast(cython.size_t, owner.ctypes.data))
        else:
            self.p = memoryview(owner)
        return 0

    @cython.cfunc
    def _grow(self) -> cython.int:
        bigger = np.empty(self.cap * 2, np.int64)
        bigger[: self.n] = self.owner[: self.n]
        return self._own(bigger)

    @cython.cfunc
    @cython.inline
    def push(self, v: cython.longlong) -> cython.int:
        if self.n == self.cap:
            self._grow()
        self.p[self.n] = v
        self.n += 1
        return 0

    def take(self) -> np.ndarray:
        """What was pushed, as an array of its own; the column starts anew at the same capacity."""
        full, n = self.owner, self.n
        self._own(np.empty(max(64, min(self.cap, 2 * n)), np.int64))
        self.n = 0
        return full[:n]


@cython.final
@cython.cclass
class Blobs:
    """A growable column of byte strings: data and offsets; an offset of -1 - o marks null at o."""

    owner: object
    p: cython.p_uchar
    n: cython.Py_ssize_t
    cap: cython.Py_ssize_t
    ends: Longs
    nulls: cython.Py_ssize_t

    def __init__(self, capacity: cython.Py_ssize_t = 1024):
        self.n = 0
        self.nulls = 0
        self.ends = Longs(128)
        self._own(np.empty(capacity, np.uint8))

    @cython.cfunc
    def _own(self, owner: object) -> cython.int:
        self.owner = owner
        self.cap = len(owner)
        if cython.compiled:
            self.p = cython.cast(cython.p_uchar, cython.cast(cython.size_t, owner.ctypes.data))
        else:
            self.p = memoryview(owner)
        return 0

    @cython.cfunc
    def _grow(self, more: cython.Py_ssize_t) -> cython.int:
        capacity: cython.Py_ssize_t = self.cap * 2
        if capacity < self.n + more:
            capacity = self.n + more
        bigger = np.empty(capacity, np.uint8)
        bigger[: self.n] = self.owner[: self.n]
        return self._own(bigger)

    @cython.cfunc
    @cython.inline
    def push(
        self, p: cython.pointer(cython.const[cython.uchar]), at: cython.Py_ssize_t, n: cython.Py_ssize_t
    ) -> cython.int:
        """Appends p[at : at + n]."""
        if self.n + n > self.cap:
            self._grow(n)
        if cython.compiled:
            memcpy(cython.address(self.p[self.n]), cython.address(p[at]), n)
        else:
            self.p[self.n : self.n + n] = p[at : at + n]
        self.n += n
        self.ends.push(self.n)
        return 0

    @cython.cfunc
    @cython.inline
    def push_null(self) -> cython.int:
        self.nulls += 1
        self.ends.push(-1 - self.n)
        return 0

    @cython.cfunc
    def truncate(self, count: cython.Py_ssize_t) -> cython.int:
        """Keeps the first `count` strings."""
        end: cython.longlong
        i: cython.Py_ssize_t
        for i in range(count, self.ends.n):
            if self.ends.p[i] < 0:
                self.nulls -= 1
        self.ends.n = count
        self.n = 0
        if count:
            end = self.ends.p[count - 1]
            self.n = end if end >= 0 else -1 - end
        return 0

    def take(self) -> tuple:
        """(data as uint8, ends as int64 with nulls marked, number of nulls)."""
        data, n, nulls = self.owner, self.n, self.nulls
        self._own(np.empty(max(256, min(self.cap, 2 * n)), np.uint8))
        self.n = 0
        self.nulls = 0
        return data[:n], self.ends.take(), nulls


@cython.final
@cython.cclass
class Plan:
    """A column list of an update header, resolved: per column its id, bare length (-1 = vint), kind, drop time."""

    raw: bytes
    n: cython.Py_ssize_t
    ids: Longs
    sizes: Longs
    multi: Longs
    dropped: Longs

    def __init__(self, raw: bytes, columns: list):
        self.raw = raw
        self.n = len(columns)
        self.ids = Longs(max(1, len(columns)))
        self.sizes = Longs(max(1, len(columns)))
        self.multi = Longs(max(1, len(columns)))
        self.dropped = Longs(max(1, len(columns)))
        for column_id, size, multi, dropped in columns:
            self.ids.push(column_id)
            self.sizes.push(size)
            self.multi.push(multi)
            self.dropped.push(dropped)


@cython.final
@cython.cclass
class TableColumns:
    """The columns of one table's changes. Made by Python, filled by `Kernel`, emptied by `take`."""

    table_id: bytes
    wanted: cython.bint
    key_parts: cython.Py_ssize_t
    clustering: Longs
    names: dict
    plans: dict
    last_regular: Plan
    last_static: Plan
    stamp: cython.longlong
    kind: Longs
    update: Longs
    position: Longs
    live_ts: Longs
    live_ttl: Longs
    live_local: Longs
    del_ts: Longs
    del_local: Longs
    cell_end: Longs
    keys: list
    prefix: list
    ranges: list
    column: Longs
    cell_kind: Longs
    cell_ts: Longs
    cell_ttl: Longs
    cell_local: Longs
    path: Blobs
    value: Blobs
    mark_rows: cython.Py_ssize_t
    mark_cells: cython.Py_ssize_t
    mark_ranges: cython.Py_ssize_t

    def __init__(self, table_id: bytes, wanted: bool, key_parts: int, clustering_sizes: list, names: dict):
        """`names` maps a column's name bytes to (id, bare size or -1, multi-cell, drop time in µs or -2^63)."""
        self.table_id = table_id
        self.wanted = wanted
        self.key_parts = key_parts
        self.clustering = Longs(max(1, len(clustering_sizes)))
        for size in clustering_sizes:
            self.clustering.push(size)
        self.names = names
        self.plans = {}
        self.last_regular = Plan(b"\x00", [])
        self.last_static = self.last_regular
        self.stamp = -1
        self.kind, self.update, self.position = Longs(), Longs(), Longs()
        self.live_ts, self.live_ttl, self.live_local = Longs(), Longs(), Longs()
        self.del_ts, self.del_local, self.cell_end = Longs(), Longs(), Longs()
        self.keys = [Blobs() for _ in range(key_parts)]
        self.prefix = [Blobs() for _ in clustering_sizes]
        self.ranges = []
        self.column, self.cell_kind, self.cell_ts = Longs(), Longs(), Longs()
        self.cell_ttl, self.cell_local = Longs(), Longs()
        self.path, self.value = Blobs(), Blobs()
        self.mark_rows = self.mark_cells = self.mark_ranges = 0

    @property
    def rows(self) -> int:
        """Rows waiting to be taken."""
        return self.kind.n

    @property
    def bytes(self) -> int:
        """Bytes of values and paths waiting to be taken."""
        return self.value.n + self.path.n

    @cython.cfunc
    def mark(self) -> cython.int:
        self.mark_rows = self.kind.n
        self.mark_cells = self.column.n
        self.mark_ranges = len(self.ranges)
        return 0

    @cython.cfunc
    def cut(self, rows: cython.Py_ssize_t, cells: cython.Py_ssize_t) -> cython.int:
        """Takes back all rows and cells from these on."""
        blobs: Blobs
        for longs in (
            self.kind, self.update, self.position, self.live_ts, self.live_ttl, self.live_local,
            self.del_ts, self.del_local, self.cell_end,
        ):  # fmt: skip
            cython.cast(Longs, longs).n = rows
        for longs in (self.column, self.cell_kind, self.cell_ts, self.cell_ttl, self.cell_local):
            cython.cast(Longs, longs).n = cells
        for blobs in self.keys:
            blobs.truncate(rows)
        for blobs in self.prefix:
            blobs.truncate(rows)
        self.path.truncate(cells)
        self.value.truncate(cells)
        return 0

    @cython.cfunc
    def roll_back(self) -> cython.int:
        self.cut(self.mark_rows, self.mark_cells)
        del self.ranges[self.mark_ranges :]
        return 0

    def take(self) -> dict:
        """All columns, as numpy arrays; the buffers start anew."""
        return {
            "kind": self.kind.take(),
            "update": self.update.take(),
            "position": self.position.take(),
            "live_ts": self.live_ts.take(),
            "live_ttl": self.live_ttl.take(),
            "live_local": self.live_local.take(),
            "del_ts": self.del_ts.take(),
            "del_local": self.del_local.take(),
            "cell_end": self.cell_end.take(),
            "keys": [part.take() for part in self.keys],
            "clustering": [part.take() for part in self.prefix],
            "ranges": self._take_ranges(),
            "column": self.column.take(),
            "cell_kind": self.cell_kind.take(),
            "cell_ts": self.cell_ts.take(),
            "cell_ttl": self.cell_ttl.take(),
            "cell_local": self.cell_local.take(),
            "path": self.path.take(),
            "value": self.value.take(),
        }

    def _take_ranges(self) -> list:
        taken, self.ranges = self.ranges, []
        return taken

    @cython.cfunc
    def plan(self, raw: bytes, names: list, static: cython.bint) -> Plan:
        """The plan of a column list seen for the first time, or since another."""
        known = self.plans.get(raw)
        if known is None:
            columns = []
            for name in names:
                found = self.names.get(name)
                if found is None:
                    raise Unknown(self.table_id, name)
                columns.append(found)
            known = Plan(raw, columns)
            if len(self.plans) > 256:  # clients that write ever new column sets
                self.plans.clear()
            self.plans[raw] = known
        if static:
            self.last_static = known
        else:
            self.last_regular = known
        return known


@cython.final
@cython.cclass
class Kernel:
    """Reads sections into `TableColumns`, by table id.

    `tables` maps 16-byte ids to TableColumns; `failures` lists the entries that were given up as (kind, offset in the
    section, size, message, table id or None, column or None), kind one of "section", "entry", "table", "column".
    """

    tables: dict
    failures: list
    updates: cython.longlong
    mutations: cython.longlong
    unsigned_local: cython.bint
    data: bytes
    p: cython.pointer(cython.const[cython.uchar])
    pos: cython.Py_ssize_t
    end: cython.Py_ssize_t
    min_ts: cython.longlong
    min_local: cython.longlong
    min_ttl: cython.longlong
    parts: Longs
    touched: list
    rows_added: cython.Py_ssize_t
    bytes_added: cython.Py_ssize_t
    position: cython.longlong

    def __init__(self, tables: dict):
        self.tables = tables
        self.failures = []
        self.updates = 0
        self.mutations = 0
        self.parts = Longs(64)
        self.touched = []

    def take_failures(self) -> list:
        """The entries given up since the last call, as the class describes."""
        taken, self.failures = self.failures, []
        return taken

    @property
    def mutations_read(self) -> int:
        """Mutations decoded so far, those of tables that nobody wants included."""
        return self.mutations

    # --- reading -----------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.inline
    def _need(self, n: cython.longlong) -> cython.int:
        """The one bounds check."""
        if n < 0 or n > self.end - self.pos:
            raise Malformed(self.pos, f"expected {n} more bytes, found {self.end - self.pos}")
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _u8(self) -> cython.int:
        self._need(1)
        self.pos += 1
        return self.p[self.pos - 1]

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _u16(self) -> cython.int:
        self._need(2)
        self.pos += 2
        return (self.p[self.pos - 2] << 8) | self.p[self.pos - 1]

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _vint(self) -> cython.longlong:
        """An unsigned vint (6.1) as its 64-bit pattern: 2^63 and more come out negative."""
        first: cython.int
        extra: cython.int = 0
        i: cython.int
        v: cython.ulonglong
        self._need(1)
        first = self.p[self.pos]
        if first < 128:
            self.pos += 1
            return first
        while extra < 8 and first & (128 >> extra):
            extra += 1
        self._need(1 + extra)
        v = first & (127 >> extra)
        for i in range(1, extra + 1):
            v = (v << 8) | self.p[self.pos + i]
        self.pos += 1 + extra
        return _signed64(v)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _size(self) -> cython.longlong:
        """A vint length, checked against what is left."""
        n: cython.longlong = self._vint()
        if n < 0 or n > self.end - self.pos:
            raise Malformed(self.pos, f"a length of {n} bytes, found {self.end - self.pos} left")
        return n

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _timestamp(self) -> cython.longlong:
        return _add64(self._vint(), self.min_ts)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _local(self) -> cython.longlong:
        """A local deletion time, s (6.5): signed in segment versions 6 and 7, unsigned from 8 on."""
        v: cython.longlong = _signed32(_add64(self._vint(), self.min_local))
        if v >= 0:
            return v
        return v + 4294967296 if self.unsigned_local else _INVALID_LOCAL

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1, check=True)
    def _ttl(self) -> cython.longlong:
        return _signed32(_add64(self._vint(), self.min_ttl))

    # --- a section ---------------------------------------------------------------------------------------------

    def read(
        self,
        data: bytes,
        start: cython.Py_ssize_t,
        base: cython.longlong,
        after: cython.longlong,
        unsigned_local: cython.bint,
        max_rows: cython.Py_ssize_t,
        max_bytes: cython.Py_ssize_t,
    ) -> tuple:
        """Reads entries of the section `data` from `start` on; the entry ending at index i has position base + i.

        Entries whose position is not beyond `after` are passed over. Stops at the section's end, or before the
        entry that follows `max_rows` rows or `max_bytes` value bytes.

        Returns (next start, state): 0 section done, 1 batch full, 2 a zero size or a rest of under 4 bytes where
        Cassandra's reader ends the segment, 3 section given up (the last of `failures` says why).
        """
        size: cython.longlong
        at: cython.Py_ssize_t = start
        total: cython.Py_ssize_t = len(data)
        crc: cython.uint
        self.data = data
        self.p = data
        self.unsigned_local = unsigned_local
        self.rows_added = 0
        self.bytes_added = 0
        while True:
            if at == total:
                return at, 0
            if total - at < 4:
                return at, 2
            size = (self.p[at] << 24) | (self.p[at + 1] << 16) | (self.p[at + 2] << 8) | self.p[at + 3]
            if size == 0:
                return at, 2
            if self.p[at] & 128 or size < _MINIMUM_ENTRY:
                self.failures.append(
                    ("section", at, 0, f"entry size expected at least 10, found {_signed32(size)}", None, None)
                )
                return at, 3
            if total - at < 8:
                self.failures.append(("section", at, 0, "an entry runs past its section", None, None))
                return at, 3
            crc = self._crc(0, at, 4)
            if crc != self._be32(at + 4):
                self._crc_failure("section", at, 0, "size CRC", self._be32(at + 4), crc)
                return at, 3
            if size > total - at - 12:
                self.failures.append(("section", at, 0, f"an entry of {size} bytes runs past its section", None, None))
                return at, 3
            if base + at + size + 12 > after:
                if self.rows_added >= max_rows or self.bytes_added >= max_bytes:
                    return at, 1
                crc = self._crc(crc, at + 8, size)
                if crc != self._be32(at + 8 + size):
                    self._crc_failure("entry", at, size, "mutation CRC", self._be32(at + 8 + size), crc)
                else:
                    self._entry(at, size, base + at + size + 12)
            at += size + 12

    def _crc_failure(self, kind: str, at: int, size: int, what: str, stored: int, computed: int):
        self.failures.append((kind, at, size, f"{what} expected {computed:08x}, found {stored:08x}", None, None))

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _be32(self, at: cython.Py_ssize_t) -> cython.uint:
        if cython.compiled:
            return (
                (cython.cast(cython.uint, self.p[at]) << 24)
                | (cython.cast(cython.uint, self.p[at + 1]) << 16)
                | (cython.cast(cython.uint, self.p[at + 2]) << 8)
                | self.p[at + 3]
            )
        return int.from_bytes(self.data[at : at + 4], "big")

    @cython.cfunc
    @cython.exceptval(check=False)
    def _crc(self, crc: cython.uint, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.uint:
        """CRC-32 of data[at : at + n], continued from `crc`; slicing-by-8 when compiled, zlib's when not."""
        if not cython.compiled:
            return zlib.crc32(memoryview(self.data)[at : at + n], crc)
        p: cython.pointer(cython.const[cython.uchar]) = self.p
        stop: cython.Py_ssize_t = at + n
        c: cython.uint = ~crc
        d: cython.uint
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
        while at < stop:
            c = (c >> 8) ^ _CRC[(c ^ p[at]) & 255]
            at += 1
        return ~c

    # --- a mutation --------------------------------------------------------------------------------------------

    @cython.cfunc
    def _entry(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t, position: cython.longlong) -> cython.int:
        """One mutation, all or nothing."""
        columns: TableColumns
        value_bytes: cython.Py_ssize_t = 0
        self.pos = at + 8
        self.end = at + 8 + size
        self.position = position
        first_update: cython.longlong = self.updates
        if self.touched:
            self.touched.clear()
        try:
            if not self._cheap_skip():
                self._mutation()
                if self.pos != self.end:
                    raise Malformed(
                        self.pos, f"expected the end of the mutation, found {self.end - self.pos} more bytes"
                    )
            self.mutations += 1
        except Unknown as unknown:
            self._take_back(first_update)
            kind = "table" if unknown.column is None else "column"
            self.failures.append((kind, at, size, "", unknown.table_id, unknown.column))
            return 0
        except Malformed as malformed:
            self._take_back(first_update)
            self.failures.append(("entry", malformed.offset, size, str(malformed), None, None))
            return 0
        for columns in self.touched:
            if columns.wanted:
                self.rows_added += columns.kind.n - columns.mark_rows
                value_bytes += columns.value.n
            else:
                columns.roll_back()
        self.bytes_added = value_bytes if value_bytes > self.bytes_added else self.bytes_added
        return 0

    @cython.cfunc
    def _take_back(self, first_update: cython.longlong) -> cython.int:
        columns: TableColumns
        for columns in self.touched:
            columns.roll_back()
        self.updates = first_update
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _cheap_skip(self) -> cython.int:
        """1 when the mutation has a single update, of a table that nobody wants: nothing need be decoded (8.2)."""
        self._need(17)
        if self.p[self.pos] != 1:
            return 0
        known = self.tables.get(self.data[self.pos + 1 : self.pos + 17])
        if known is None or cython.cast(TableColumns, known).wanted:
            return 0
        return 1

    @cython.cfunc
    def _mutation(self) -> cython.int:
        count: cython.longlong = self._vint()
        if count < 1 or count > self.end - self.pos:
            raise Malformed(self.pos, f"expected a number of partition updates, found {count}")
        while count:
            self._update()
            count -= 1
        return 0

    @cython.cfunc
    def _update(self) -> cython.int:
        """One partition update (6.3)."""
        flags: cython.int
        static_plan: Plan
        regular: Plan
        columns: TableColumns
        rows: cython.Py_ssize_t
        self._need(16)
        table_id: bytes = self.data[self.pos : self.pos + 16]
        known = self.tables.get(table_id)
        if known is None:
            raise Unknown(table_id, None)
        columns = cython.cast(TableColumns, known)
        self.pos += 16
        if columns.stamp != self.position or columns not in self.touched:
            columns.stamp = self.position
            columns.mark()
            self.touched.append(columns)
        self.updates += 1
        self._split_key(columns)
        rows = columns.kind.n
        flags = self._u8()
        if flags & 0x02:
            raise Malformed(self.pos - 1, "a reversed update")
        if not flags & 0x01:
            self.min_ts = _add64(self._vint(), _EPOCH_MICROS)
            self.min_local = _add64(self._vint(), _EPOCH_SECONDS)
            self.min_ttl = self._vint()
            static_plan = self._column_list(columns, True) if flags & 0x08 else None
            regular = self._column_list(columns, False)
            if flags & 0x04:
                self._row_head(columns, PARTITION)
                self._push_deletion(columns)
                self._end_row(columns)
            if flags & 0x08:
                self._static_row(columns, static_plan)
            if flags & 0x10:
                self._vint()
            self._rows(columns, regular)
        if columns.kind.n == rows:
            self._row_head(columns, NOTHING)
            self._no_deletion(columns)
            self._end_row(columns)
        return 0

    @cython.cfunc
    def _split_key(self, columns: TableColumns) -> cython.int:
        """The partition key's parts as (start, length) pairs in `parts`; composite keys as in section 7."""
        n: cython.longlong = self._size()
        stop: cython.Py_ssize_t = self.pos + n
        length: cython.Py_ssize_t
        part: cython.Py_ssize_t
        self.parts.n = 0
        if columns.key_parts == 1:
            self.parts.push(self.pos)
            self.parts.push(n)
            self.pos = stop
            return 0
        for part in range(columns.key_parts):
            length = self._u16()
            if length + 1 > stop - self.pos:
                raise Malformed(self.pos, f"part {part + 1} of the partition key runs past the key")
            self.parts.push(self.pos)
            self.parts.push(length)
            self.pos += length + 1
        if self.pos != stop:
            raise Malformed(self.pos, f"expected {columns.key_parts} parts of the partition key, found more")
        return 0

    @cython.cfunc
    def _column_list(self, columns: TableColumns, static: cython.bint) -> Plan:
        """A header's column list; a list is self-delimiting, so equal leading bytes are an equal list."""
        last: Plan = columns.last_static if static else columns.last_regular
        n: cython.Py_ssize_t = len(last.raw)
        start: cython.Py_ssize_t = self.pos
        raw: cython.pointer(cython.const[cython.uchar]) = last.raw
        size: cython.longlong
        if n <= self.end - start:
            if cython.compiled:
                if memcmp(cython.address(self.p[start]), raw, n) == 0:
                    self.pos += n
                    return last
            elif self.data[start : start + n] == last.raw:
                self.pos += n
                return last
        count: cython.longlong = self._vint()
        names = []
        if count < 0 or count > self.end - self.pos:
            raise Malformed(start, f"expected a number of columns, found {count}")
        while count:
            size = self._size()
            names.append(self.data[self.pos : self.pos + size])
            self.pos += size
            count -= 1
        return columns.plan(self.data[start : self.pos], names, static)

    # --- rows --------------------------------------------------------------------------------------------------

    @cython.cfunc
    def _row_head(self, columns: TableColumns, kind: cython.int) -> cython.int:
        """A row with the partition key, no clustering, no liveness; the deletion is the caller's."""
        blobs: Blobs
        i: cython.Py_ssize_t
        self._row_key(columns, kind)
        for i in range(columns.clustering.n):
            blobs = columns.prefix[i]
            blobs.push_null()
        columns.live_ts.push(NO_TIMESTAMP)
        columns.live_ttl.push(0)
        columns.live_local.push(0)
        return 0

    @cython.cfunc
    @cython.inline
    def _row_key(self, columns: TableColumns, kind: cython.int) -> cython.int:
        blobs: Blobs
        i: cython.Py_ssize_t
        columns.kind.push(kind)
        columns.update.push(self.updates)
        columns.position.push(self.position)
        for i in range(columns.key_parts):
            blobs = columns.keys[i]
            blobs.push(self.p, self.parts.p[2 * i], self.parts.p[2 * i + 1])
        return 0

    @cython.cfunc
    @cython.inline
    def _end_row(self, columns: TableColumns) -> cython.int:
        return columns.cell_end.push(columns.column.n)

    @cython.cfunc
    @cython.inline
    def _no_deletion(self, columns: TableColumns) -> cython.int:
        columns.del_ts.push(NO_TIMESTAMP)
        return columns.del_local.push(0)

    @cython.cfunc
    @cython.inline
    def _push_deletion(self, columns: TableColumns) -> cython.int:
        """A deletion time (6.4): timestamp, then local deletion time."""
        columns.del_ts.push(self._timestamp())
        return columns.del_local.push(self._local())

    @cython.cfunc
    def _static_row(self, columns: TableColumns, plan: Plan) -> cython.int:
        flags: cython.int = self._u8()
        if not flags & 0x80 or not self._u8() & 0x01:
            raise Malformed(self.pos - 1, f"expected a static row, found row flags {flags:02x}")
        self._row_head_static(columns)
        return self._row_body(columns, plan, flags, columns.column.n)

    @cython.cfunc
    def _row_head_static(self, columns: TableColumns) -> cython.int:
        blobs: Blobs
        i: cython.Py_ssize_t
        self._row_key(columns, STATIC)
        for i in range(columns.clustering.n):
            blobs = columns.prefix[i]
            blobs.push_null()
        return 0

    @cython.cfunc
    def _rows(self, columns: TableColumns, plan: Plan) -> cython.int:
        """Rows and range tombstone markers until the end of the partition."""
        flags: cython.int
        opened: object = None
        while True:
            flags = self._u8()
            if flags & 0x01:
                break
            if flags & 0x02:
                opened = self._marker(columns, opened)
                continue
            if flags & 0x80 and self._u8() & 0x01:
                raise Malformed(self.pos - 1, "a static row among the rows")
            self._row_key(columns, ROW)
            self._clustering(columns)
            self._row_body(columns, plan, flags, columns.column.n)
        if opened is not None:
            raise Malformed(self.pos, "a range tombstone that is opened and never closed")
        return 0

    @cython.cfunc
    def _clustering(self, columns: TableColumns) -> cython.int:
        """All clustering values (6.7): a header vint of two bits per value for each 32."""
        header: cython.longlong = 0
        i: cython.Py_ssize_t
        n: cython.longlong
        blobs: Blobs
        for i in range(columns.clustering.n):
            if i % 32 == 0:
                header = self._vint()
            blobs = columns.prefix[i]
            if header & 2:
                blobs.push_null()
            elif header & 1:
                blobs.push(self.p, self.pos, 0)
            else:
                n = columns.clustering.p[i]
                if n < 0:
                    n = self._size()
                else:
                    self._need(n)
                blobs.push(self.p, self.pos, n)
                self.pos += n
            header >>= 2
        return 0

    @cython.cfunc
    def _row_body(
        self, columns: TableColumns, plan: Plan, flags: cython.int, first_cell: cython.Py_ssize_t
    ) -> cython.int:
        """Liveness, deletion, cells (6.6); a row that says nothing, dropped columns taken out, is taken back."""
        live_ts: cython.longlong = NO_TIMESTAMP
        live_ttl: cython.longlong = 0
        live_local: cython.longlong = 0
        i: cython.Py_ssize_t
        bits: cython.longlong
        if flags & 0x04:
            live_ts = self._timestamp()
            if flags & 0x08:
                live_ttl = self._ttl()
                live_local = self._local()
        columns.live_ts.push(live_ts)
        columns.live_ttl.push(live_ttl)
        columns.live_local.push(live_local)
        if flags & 0x10:
            self._push_deletion(columns)
        else:
            self._no_deletion(columns)
        bits = 0 if flags & 0x20 else self._vint()
        if bits == 0:
            for i in range(plan.n):
                self._column(columns, plan, i, flags, live_ts, live_ttl, live_local)
        elif plan.n < 64:
            if bits < 0 or bits >> plan.n:
                raise Malformed(self.pos, f"a column subset of {plan.n} columns with bits beyond them")
            for i in range(plan.n):
                if not (bits >> i) & 1:
                    self._column(columns, plan, i, flags, live_ts, live_ttl, live_local)
        else:
            self._large_subset(columns, plan, bits, flags, live_ts, live_ttl, live_local)
        if columns.column.n == first_cell and live_ts == NO_TIMESTAMP and not flags & 0x10:
            self._forget_row(columns, first_cell)
            return 0
        return self._end_row(columns)

    @cython.cfunc
    def _forget_row(self, columns: TableColumns, first_cell: cython.Py_ssize_t) -> cython.int:
        columns.cut(columns.kind.n - 1, first_cell)
        return 0

    @cython.cfunc
    def _large_subset(
        self,
        columns: TableColumns,
        plan: Plan,
        missing: cython.longlong,
        flags: cython.int,
        live_ts: cython.longlong,
        live_ttl: cython.longlong,
        live_local: cython.longlong,
    ) -> cython.int:
        """A subset of 64 or more columns (6.8): the present ones by index, or the missing ones, ascending."""
        present: cython.longlong = plan.n - missing
        i: cython.longlong = 0
        index: cython.longlong
        count: cython.longlong
        if missing < 0 or present < 0:
            raise Malformed(self.pos, f"{missing} missing columns of {plan.n}")
        listed_present: cython.bint = present < plan.n // 2
        indexes = []
        count = present if listed_present else missing
        while count:
            index = self._vint()
            if index < i or index >= plan.n:
                raise Malformed(self.pos, f"column index {index} of {plan.n}, expected at least {i}")
            indexes.append(index)
            i = index + 1
            count -= 1
        if not listed_present:
            gone = set(indexes)
            indexes = [k for k in range(plan.n) if k not in gone]
        for k in indexes:
            self._column(columns, plan, k, flags, live_ts, live_ttl, live_local)
        return 0

    # --- cells -------------------------------------------------------------------------------------------------

    @cython.cfunc
    @cython.inline
    def _column(
        self,
        columns: TableColumns,
        plan: Plan,
        i: cython.Py_ssize_t,
        flags: cython.int,
        live_ts: cython.longlong,
        live_ttl: cython.longlong,
        live_local: cython.longlong,
    ) -> cython.int:
        count: cython.longlong
        if not plan.multi.p[i]:
            return self._cell(columns, plan, i, live_ts, live_ttl, live_local)
        if flags & 0x40:
            self._column_deletion(columns, plan, i)
        count = self._vint()
        if count < 0 or count > self.end - self.pos:
            raise Malformed(self.pos, f"expected a number of cells, found {count}")
        while count:
            self._cell(columns, plan, i, live_ts, live_ttl, live_local)
            count -= 1
        return 0

    @cython.cfunc
    def _column_deletion(self, columns: TableColumns, plan: Plan, i: cython.Py_ssize_t) -> cython.int:
        ts: cython.longlong = self._timestamp()
        local: cython.longlong = self._local()
        if ts != NO_TIMESTAMP and ts > plan.dropped.p[i]:
            columns.column.push(plan.ids.p[i])
            columns.cell_kind.push(COLUMN_DELETION)
            columns.cell_ts.push(ts)
            columns.cell_ttl.push(0)
            columns.cell_local.push(local)
            columns.path.push_null()
            columns.value.push_null()
        return 0

    @cython.cfunc
    @cython.inline
    def _cell(
        self,
        columns: TableColumns,
        plan: Plan,
        i: cython.Py_ssize_t,
        live_ts: cython.longlong,
        live_ttl: cython.longlong,
        live_local: cython.longlong,
    ) -> cython.int:
        """One cell (6.9): flags, timestamp, local deletion time, TTL, path, value."""
        flags: cython.int = self._u8()
        kind: cython.int = flags & 3
        ts: cython.longlong = live_ts
        ttl: cython.longlong = 0
        local: cython.longlong = 0
        path: cython.Py_ssize_t = 0
        path_size: cython.longlong = 0
        size: cython.longlong = 0
        if kind == 3:
            raise Malformed(self.pos - 1, "a cell that is both tombstone and expiring")
        if not flags & 0x08:
            ts = self._timestamp()
        elif live_ts == NO_TIMESTAMP:
            raise Malformed(self.pos - 1, "a cell with the row's timestamp in a row that has none")
        if kind:
            if flags & 0x10:
                local = live_local
                ttl = live_ttl if kind == EXPIRING else 0
            else:
                local = self._local()
                if kind == EXPIRING:
                    ttl = self._ttl()
        if plan.multi.p[i]:
            path_size = self._size()
            path = self.pos
            self.pos += path_size
        if not flags & 0x04:
            size = plan.sizes.p[i]
            if size < 0:
                size = self._size()
            else:
                self._need(size)
        if ts > plan.dropped.p[i]:
            columns.column.push(plan.ids.p[i])
            columns.cell_kind.push(kind)
            columns.cell_ts.push(ts)
            columns.cell_ttl.push(ttl)
            columns.cell_local.push(local)
            if plan.multi.p[i]:
                columns.path.push(self.p, path, path_size)
            else:
                columns.path.push_null()
            if kind == TOMBSTONE:
                columns.value.push_null()
            else:
                columns.value.push(self.p, self.pos, size)
        self.pos += size
        return 0

    # --- range tombstones --------------------------------------------------------------------------------------

    @cython.cfunc
    def _marker(self, columns: TableColumns, opened: object) -> object:
        """A bound or a boundary (6.7); returns the open one: (values, inclusive, timestamp, local) or None."""
        kind: cython.int = self._u8()
        if kind > 7 or kind == 3 or kind == 4:
            raise Malformed(self.pos - 1, f"expected a bound, found kind {kind}")
        values = self._bound(columns)
        ts: cython.longlong = self._timestamp()
        local: cython.longlong = self._local()
        if kind == 1 or kind == 7:
            if opened is not None:
                raise Malformed(self.pos, "a range tombstone opened inside another")
            return values, kind == 1, ts, local
        if opened is None:
            raise Malformed(self.pos, "a range tombstone closed that was never opened")
        self._row_head(columns, RANGE)
        columns.del_ts.push(ts)
        columns.del_local.push(local)
        self._end_row(columns)
        columns.ranges.append((opened[0], opened[1], values, kind == 5 or kind == 6))
        if kind == 0 or kind == 6:
            return None
        ts = self._timestamp()
        local = self._local()
        return values, kind == 2, ts, local

    @cython.cfunc
    def _bound(self, columns: TableColumns) -> object:
        """The values of a bound: a 2-byte count, then a clustering prefix of that many."""
        count: cython.int = self._u16()
        i: cython.Py_ssize_t
        header: cython.longlong = 0
        n: cython.longlong
        if count > columns.clustering.n:
            raise Malformed(self.pos, f"a bound of {count} values, the table has {columns.clustering.n}")
        values = []
        for i in range(count):
            if i % 32 == 0:
                header = self._vint()
            if header & 2:
                values.append(None)
            elif header & 1:
                values.append(b"")
            else:
                n = columns.clustering.p[i]
                if n < 0:
                    n = self._size()
                else:
                    self._need(n)
                values.append(self.data[self.pos : self.pos + n])
                self.pos += n
            header >>= 2
        return values


_make_crc_table()
