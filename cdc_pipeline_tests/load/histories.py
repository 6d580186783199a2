"""Random tables and random histories of changes to them, made to collide: few keys, few times, few values."""

from __future__ import annotations

import dataclasses
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, ListType, MapType, Scalar, SetType, TupleType, UserType, VectorType
from cdc_pipeline_tests.load.changes import Cell, Change, context, table
from cdc_pipeline_tests.types.values import (
    counted,
    decimal_bytes,
    fields,
    int_bytes,
    pairs,
    rank,
    signed_vint_bytes,
    varint_bytes,
    vector,
)

NOW = 1_700_000_000
"""The clock (s) at which histories are looked at."""

TTLS = st.sampled_from((1, 60, 630_720_000))
EXPIRIES = (NOW - 1, NOW, NOW + 1, NOW + 1000)
COUNTS = (0, 1, -7, 2**63 - 1, -(2**63))
TIMES = (*(NOW * 1_000_000 + micros for micros in (-2, -1, 0, 1, 2)), -5)


def _uuid(text: str) -> bytes:
    return uuid.UUID(text).bytes


POOLS: dict[str, tuple[bytes, ...]] = {
    "int": (int_bytes(1), int_bytes(-1), int_bytes(7), b""),
    "bigint": tuple(struct.pack(">q", n) for n in (3, -3)),
    "tinyint": (b"\x01", b"\xff", b"\x80"),
    "text": ("ä".encode(), b"a", b"ab", b""),
    "blob": (b"", b"\x00", b"\x00\xff", b"\xff"),
    "boolean": (b"\x00", b"\x01"),
    "double": tuple(struct.pack(">d", n) for n in (1.5, -1.5, 0.0, -0.0, float("nan"), float("inf"))),
    "decimal": (decimal_bytes(10, 1), decimal_bytes(100, 2), decimal_bytes(-5, 0), decimal_bytes(1, -3)),
    "varint": (varint_bytes(127), varint_bytes(128), varint_bytes(-1), varint_bytes(10**30)),
    "timestamp": tuple(struct.pack(">q", n) for n in (0, -1, 1_700_000_000_123)),
    "date": tuple(struct.pack(">I", 2**31 + n) for n in (0, -1, 20_000)),
    "uuid": (_uuid("11111111-2222-4333-8444-555555555555"), _uuid("ffffffff-2222-1333-8444-555555555555")),
    "timeuuid": tuple(
        _uuid(text)
        for text in (
            "00000001-0000-1000-8000-000000000001",
            "00000000-0001-1000-8000-000000000001",
            "00000001-0000-1000-7f00-000000000001",
        )
    ),
    "inet": (b"\x7f\x00\x00\x01", bytes(10) + b"\xff\xff\x7f\x00\x00\x01", b"\x80\x00\x00\x01"),
    "ascii": (b"Z", b"a", b"a a"),
    "smallint": (b"\x00\x01", b"\xff\xff"),
    "float": tuple(struct.pack(">f", n) for n in (1.5, -1.5, 0.0, -0.0, float("nan"), float("-inf"))),
    "time": tuple(struct.pack(">q", n) for n in (0, 1000, 86_399_999_999_000)),
    "duration": tuple(
        b"".join(map(signed_vint_bytes, parts)) for parts in ((0, 0, 1000), (-1, -40, -1_000_000), (14, 3, 0))
    ),
}
TUPLE, USER, VECTOR = "frozen<tuple<int, text>>", "frozen<name>", "vector<float, 2>"
FROZEN = (
    "frozen<list<int>>",
    "frozen<set<text>>",
    "frozen<map<text, int>>",
    "frozen<list<frozen<map<int, frozen<name>>>>>",
    TUPLE,
    USER,
    VECTOR,
)
KEYS = (*(name for name in POOLS if name != "duration"), *FROZEN)
CLUSTERINGS = KEYS
"""A key is of any type but `duration`, which has no order."""

SIMPLE = tuple(name for name in POOLS if name != "timeuuid")
MULTI = (
    "list<int>",
    "list<frozen<set<int>>>",
    "list<frozen<name>>",
    "set<text>",
    "set<int>",
    "set<decimal>",
    "set<frozen<tuple<int, text>>>",
    "map<text, int>",
    "map<inet, text>",
    "map<timeuuid, double>",
    "map<frozen<name>, frozen<list<int>>>",
    "name",
)


@dataclass(frozen=True)
class History:
    """A table and changes to it, with no order among them but for their places in the log."""

    table: Table
    changes: tuple[Change, ...]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """One or two key columns, none to two clustering columns in either order, statics, simple and multi-cell ones."""
    kinds = st.sampled_from(SIMPLE + FROZEN)
    clustering = draw(st.lists(st.sampled_from(CLUSTERINGS), max_size=2))
    descending = [draw(st.sampled_from(("", " desc"))) for _ in clustering]
    values = st.tuples(st.lists(kinds, min_size=1, max_size=2), st.lists(st.sampled_from(MULTI), max_size=2))
    regular = draw(values)
    static = draw(values) if clustering and draw(st.booleans()) else ([], [])
    return table(
        "t",
        key=[(f"p{at}", kind) for at, kind in enumerate(draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2)))],
        clustering=[(f"c{at}", k + d) for at, (k, d) in enumerate(zip(clustering, descending, strict=True))],
        static=[(f"s{at}", kind) for at, kind in enumerate(static[0] + static[1])],
        regular=[(f"r{at}", kind) for at, kind in enumerate(regular[0] + regular[1])],
    )


@st.composite
def counter_tables(draw: st.DrawFn) -> Table:
    """One or two key columns, none to two clustering columns, one or two counters, perhaps static ones."""
    clustering = draw(st.lists(st.sampled_from(CLUSTERINGS), max_size=2))
    return table(
        "t",
        key=[(f"p{at}", kind) for at, kind in enumerate(draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2)))],
        clustering=[(f"c{at}", kind + draw(st.sampled_from(("", " desc")))) for at, kind in enumerate(clustering)],
        static=[(f"s{at}", "counter") for at in range(draw(st.integers(0, 2)) if clustering else 0)],
        regular=[(f"r{at}", "counter") for at in range(draw(st.integers(1, 2)))],
    )


CONTEXTS = st.lists(
    st.tuples(st.sampled_from((1, 2, 2**127 + 5)), st.sampled_from((-1, 5, 6, 2**63 - 1)), st.sampled_from(COUNTS)),
    min_size=1,
    max_size=3,
    unique_by=lambda shard: shard[0],
).map(lambda shards: context(*sorted(shards)))
"""Counter contexts whose shards meet again, with clocks that tie and sums that wrap."""


@st.composite
def histories(draw: st.DrawFn, *, of: Table | None = None, distinct_times: bool = False) -> History:
    """Up to 25 changes of up to two partitions; with `distinct_times` no two have a time in common."""
    table_ = of or draw(tables())
    count = draw(st.integers(1, 25))
    if distinct_times:
        order = draw(st.permutations(range(count)))
        times = [st.just(NOW * 1_000_000 + 10 * at) for at in order]
    else:
        times = [st.sampled_from(TIMES)] * count
    partitions = [tuple(draw(values(c.type, key=True)) for c in table_.partition_key) for _ in range(2)]
    changes = [draw(_change(table_, partitions, draw(at))) for at in times]
    return History(table_, tuple(dataclasses.replace(one, at=100 * number) for number, one in enumerate(changes, 1)))


def values(kind: CqlType, *, key: bool = False) -> st.SearchStrategy[bytes]:
    """Few values of a type. A key is not empty: whether one may be is the number of key columns' doing."""
    return st.sampled_from(pool(kind, key=key))


def pool(kind: CqlType, *, key: bool = False) -> tuple[bytes, ...]:
    """The few values of a type, composed of the first ones of its parts."""
    match kind:
        case Scalar():
            return tuple(value for value in POOLS[kind.name] if value or not key)
        case ListType():
            one, two = _first_two(kind.element)
            return (counted(), counted(one), counted(two, one))
        case SetType():
            one, two = sorted(_first_two(kind.element), key=lambda value: rank(kind.element, value))
            return (counted(), counted(one), counted(one, two))
        case MapType():
            one, two = sorted(_first_two(kind.key), key=lambda value: rank(kind.key, value))
            held, other = _first_two(kind.value)
            return (counted(), pairs(one, held), pairs(one, other, two, held))
        case TupleType():
            firsts = [_first_two(part) for part in kind.elements]
        case UserType():
            firsts = [_first_two(part) for part in kind.field_types]
        case VectorType():
            one, two = _first_two(kind.element)
            return (vector(kind.element, *[one] * kind.dimension), vector(kind.element, *[two] * kind.dimension))
        case _:
            raise AssertionError(kind)
    ones, twos = zip(*firsts, strict=True)
    return (fields(*ones), fields(*twos), fields(*twos[:-1], None))


def _first_two(kind: CqlType) -> tuple[bytes, bytes]:
    first, second, *_ = pool(kind, key=True)
    return first, second


@st.composite
def _change(draw: st.DrawFn, of: Table, partitions: Sequence[tuple[bytes, ...]], ts: int) -> Change:
    key = draw(st.sampled_from(partitions))
    kinds = ["update", "update", "partition", *([] if of.is_counter else ["insert", "insert"])]
    kinds += ["row", "range", "range"] if of.clustering else []
    kinds += ["static", "static"] if of.static else []
    kind = draw(st.sampled_from(kinds))
    if kind == "partition":
        return Change(key, kind=RowKind.PARTITION, deleted=ts)
    if kind == "range":
        return Change(key, kind=RowKind.RANGE, deleted=ts, bounds=(draw(_bound(of)), draw(_bound(of))))
    if kind == "static":
        return Change(key, kind=RowKind.STATIC, cells=draw(_cells(of.static, ts)))
    clustering = tuple(draw(values(column.type)) for column in of.clustering)
    if kind == "row":
        return Change(key, clustering, deleted=ts)
    cells = draw(_cells(of.regular, ts))
    if kind == "update":
        return Change(key, clustering, cells)
    expires = draw(st.none() | st.sampled_from(EXPIRIES))
    return Change(key, clustering, cells, live=ts, live_expires=expires, live_ttl=draw(TTLS))


@st.composite
def _bound(draw: st.DrawFn, of: Table) -> Bound:
    length = draw(st.integers(0, len(of.clustering)))
    prefix = tuple(draw(values(column.type)) for column in of.clustering[:length])
    return Bound(prefix, draw(st.booleans()) if prefix else True)


@st.composite
def _cells(draw: st.DrawFn, columns: Sequence[Column], ts: int) -> tuple[Cell, ...]:
    chosen = draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
    cells: list[Cell] = []
    for column in chosen:
        cells += draw(_of_column(column, ts))
    return tuple(cells)


@st.composite
def _of_column(draw: st.DrawFn, column: Column, ts: int) -> list[Cell]:
    """What one statement writes to a column: a value or null, or some elements, or a whole collection."""
    if column.type == Scalar("counter"):
        return [Cell(column.name, ts, draw(st.none() | CONTEXTS | CONTEXTS))]
    if not column.type.multi_cell:
        value = draw(st.none() | values(column.type))
        expires = None if value is None else draw(st.none() | st.sampled_from(EXPIRIES))
        return [Cell(column.name, ts, value, expires=expires, ttl=draw(TTLS))]
    cells = [Cell(column.name, ts - 1, deletes=True)] if draw(st.booleans()) else []
    for path in draw(st.lists(st.sampled_from(_paths(column.type)), unique=True, max_size=3)):
        value = draw(st.none() | _element(column.type, path))
        expires = None if value is None else draw(st.none() | st.sampled_from(EXPIRIES))
        cells.append(Cell(column.name, ts, value, path, expires, ttl=draw(TTLS)))
    return cells or [Cell(column.name, ts, deletes=True)]


def _paths(kind: CqlType) -> tuple[bytes, ...]:
    if isinstance(kind, UserType):
        return (b"\x00\x00", b"\x00\x01")
    if isinstance(kind, ListType):
        return POOLS["timeuuid"]
    assert isinstance(kind, MapType | SetType)
    return pool(kind.key if isinstance(kind, MapType) else kind.element, key=True)


def _element(kind: CqlType, path: bytes) -> st.SearchStrategy[bytes]:
    if isinstance(kind, SetType):
        return st.just(b"")
    if isinstance(kind, MapType):
        return values(kind.value, key=True)
    if isinstance(kind, UserType):
        return values(kind.field_types[int.from_bytes(path, "big")], key=True)
    assert isinstance(kind, ListType)
    return values(kind.element, key=True)
