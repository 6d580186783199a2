from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Scalar,
    SetType,
    TupleType,
    VectorType,
    clustering_key,
    range_bounds,
    sort_key,
)
from cdc_pipeline_tests.types.values import (
    COMPOSITE,
    INT,
    LEXICAL_UUID,
    SCALARS,
    TEXT,
    anything,
    counted,
    decimal_bytes,
    fields,
    int_bytes,
    present,
    rank,
    types,
    varint_bytes,
    vector,
)

Value = bytes | None


def sign(left: object, right: object) -> int:
    """-1, 0 or 1, as a comparator tells it."""
    return (left > right) - (left < right)  # type: ignore[operator,no-any-return]  # bytes or ranks, by the caller


@pytest.mark.parametrize("cql_type", [*SCALARS, LEXICAL_UUID], ids=lambda cql_type: cql_type.cql)
@given(data=st.data())
def test_scalars(cql_type: CqlType, data: st.DataObject) -> None:
    """The keys of two scalars compare as Cassandra compares their values."""
    left, right = data.draw(anything(cql_type)), data.draw(anything(cql_type))
    key = sort_key(cql_type)
    assert sign(key(left), key(right)) == sign(rank(cql_type, left), rank(cql_type, right))


@given(st.data())
def test_composed(data: st.DataObject) -> None:
    """The keys of two values of any type compare element by element."""
    cql_type = data.draw(types())
    left, right = data.draw(present(cql_type)), data.draw(present(cql_type))
    key = sort_key(cql_type)
    assert sign(key(left), key(right)) == sign(rank(cql_type, left), rank(cql_type, right))


def floats(*numbers: float) -> list[bytes]:
    return [struct.pack(">f", number) for number in numbers]


def uuids(*texts: str) -> list[bytes]:
    return [UUID(text).bytes for text in texts]


@pytest.mark.parametrize(
    ("cql_type", "ascending"),
    [
        (TEXT, [b"", b"\x00", b"A", b"a", "é".encode(), "\uffee".encode(), "\U0001d518".encode()]),
        (Scalar("blob"), [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x01", b"\xff", b"\xff\x00"]),
        (INT, [b"", int_bytes(-(2**31)), int_bytes(-1), int_bytes(0), int_bytes(1), int_bytes(2**31 - 1)]),
        (Scalar("varint"), [b"", *map(varint_bytes, (-(2**70), -256, -255, -1, 0, 1, 255, 256, 2**70))]),
        (
            Scalar("decimal"),
            [
                b"",
                *(decimal_bytes(*number) for number in [(-11, 1), (-1, 0), (0, 3), (1, 30), (99, 2), (1, 0), (101, 2)]),
            ],
        ),
        (Scalar("float"), [b"", *floats(float("-inf"), -1.0, -0.0, 0.0, 1e-45, 1.0, float("inf"), float("nan"))]),
        (Scalar("date"), [b"", bytes(4), b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\xff"]),
        (Scalar("inet"), [b"", b"\x01" + bytes(15), b"\x01\x02\x03\x04", b"\x02\x00\x00\x00"]),
        (
            Scalar("timeuuid"),
            uuids(
                "00000000-0000-1000-8080-808080808080",
                "00000000-0000-1000-807f-000000000000",
                "00000000-0000-1000-ff00-000000000000",
                "00000000-0000-1000-0000-000000000000",
                "00000000-0000-1000-7f7f-7f7f7f7f7f7f",
                "ffffffff-0000-1000-8080-808080808080",
                "00000000-0001-1000-8080-808080808080",
                "00000000-0000-1001-8080-808080808080",
            ),
        ),
        (
            Scalar("uuid"),
            uuids(
                "ffffffff-ffff-0fff-ffff-ffffffffffff",
                "ffffffff-0000-1000-8000-000000000000",
                "00000000-0001-1000-0000-000000000000",
                "00000000-0001-1000-8000-000000000000",
                "00000000-0000-4000-8000-000000000000",
                "f0000000-0000-4000-8000-000000000000",
            ),
        ),
        (
            LEXICAL_UUID,
            uuids("80000000-0000-0000-0000-000000000000", "00000000-0000-0000-8000-000000000000", str(UUID(int=0))),
        ),
        (CustomType("org.apache.cassandra.db.marshal.DateType"), [b"", bytes(8), b"\x80" + bytes(7)]),
        (COMPOSITE, [b"", b"\x00", b"\x00\x01", b"\x80"]),
        (
            ListType(INT),
            [b"", counted(), counted(b""), counted(int_bytes(-1)), counted(int_bytes(-1), b""), counted(int_bytes(1))],
        ),
        (SetType(TEXT), [counted(b"a"), counted(b"a", b""), counted(b"a\x00"), counted(b"b")]),
        (
            TupleType((INT, TEXT)),
            [b"", fields(None, b"a"), fields(b"", b"a"), fields(int_bytes(1)), fields(int_bytes(1), b"")],
        ),
        (VectorType(TEXT, 2), [vector(TEXT, b"", b"z"), vector(TEXT, b"a", b""), vector(TEXT, b"a", b"b")]),
    ],
)
def test_orders(cql_type: CqlType, ascending: list[bytes]) -> None:
    """Values that stand in Cassandra's order have keys that rise."""
    keys = [sort_key(cql_type)(value) for value in ascending]
    assert keys == sorted(keys)
    assert len({*keys}) == len(keys)


@pytest.mark.parametrize(
    ("cql_type", "left", "right"),
    [
        (Scalar("float"), bytes.fromhex("7fc00000"), bytes.fromhex("ffc00001")),
        (Scalar("double"), bytes.fromhex("7ff8000000000000"), bytes.fromhex("fff8000000000001")),
        (Scalar("decimal"), decimal_bytes(10, 1), decimal_bytes(100, 2)),
        (Scalar("boolean"), b"\x01", b"\x02"),
        (TupleType((INT, TEXT)), fields(int_bytes(1)), fields(int_bytes(1), None)),
        (ListType(Scalar("varint")), counted(b"\x05"), counted(b"\x00\x05")),
    ],
)
def test_equals(cql_type: CqlType, left: bytes, right: bytes) -> None:
    """Values that Cassandra takes for equal have one key."""
    assert sort_key(cql_type)(left) == sort_key(cql_type)(right)


CLUSTERINGS = st.lists(st.tuples(types(), st.booleans()), min_size=1, max_size=3)


def row_of(columns: Sequence[tuple[CqlType, bool]], size: int) -> st.SearchStrategy[tuple[Value, ...]]:
    return st.tuples(*(anything(cql_type) | st.none() for cql_type, _ in columns[:size]))


def compare(columns: Sequence[tuple[CqlType, bool]], left: Sequence[Value], right: Sequence[Value]) -> int:
    """`ClusteringComparator` over the components that both have: null first, DESC turned round."""
    for (cql_type, descending), a, b in zip(columns, left, right, strict=False):
        order = sign(rank(cql_type, a), rank(cql_type, b))
        if order:
            return -order if descending and a is not None and b is not None else order
    return 0


def key_of(columns: Sequence[tuple[CqlType, bool]]) -> tuple[list[CqlType], list[bool]]:
    return [cql_type for cql_type, _ in columns], [descending for _, descending in columns]


@given(st.data())
def test_rows_in_storage_order(data: st.DataObject) -> None:
    """The keys of two rows compare as Cassandra stores them, nulls and DESC included."""
    columns = data.draw(CLUSTERINGS)
    left, right = (data.draw(row_of(columns, len(columns))) for _ in range(2))
    key = clustering_key(*key_of(columns))
    assert sign(key(left), key(right)) == compare(columns, left, right)


@given(st.data())
def test_prefixes(data: st.DataObject) -> None:
    """The rows from key(P) to below key(P) + FF are those that begin with P, and lead bytes lie in 01 to FE."""
    columns = data.draw(CLUSTERINGS)
    row = data.draw(row_of(columns, len(columns)))
    size = data.draw(st.integers(1, len(columns)))
    prefix = data.draw(st.just(row[:size]) | row_of(columns, size))
    key = clustering_key(*key_of(columns))
    inside = key(prefix) <= key(row) < key(prefix) + b"\xff"
    assert inside == (compare(columns, prefix, row) == 0)
    assert b"\x01" <= key(row) < b"\xff"


@given(st.data())
def test_ranges(data: st.DataObject) -> None:
    """A row lies between the bounds of a range exactly when Cassandra's comparator says so."""
    columns = data.draw(CLUSTERINGS)
    row = data.draw(row_of(columns, len(columns)))
    sizes = st.integers(0, len(columns))
    start, end = (data.draw(sizes.flatmap(lambda size: st.just(row[:size]) | row_of(columns, size))) for _ in range(2))
    start_inclusive, end_inclusive = data.draw(st.booleans()), data.draw(st.booleans())
    key = clustering_key(*key_of(columns))
    lo, hi = range_bounds(key, start, start_inclusive, end, end_inclusive)
    after_start = compare(columns, row, start) > 0 or (
        compare(columns, row, start) == 0 and (start_inclusive or not start)
    )
    before_end = compare(columns, row, end) < 0 or (compare(columns, row, end) == 0 and (end_inclusive or not end))
    assert (lo <= key(row) < hi) == (after_start and before_end)


def test_descending_texts() -> None:
    """Under DESC a longer text comes before the one it begins with, an empty one last and null first."""
    key = clustering_key([TEXT, INT], [True, False])
    rows = [(None, b""), (b"b", b""), (b"a\xff", b""), (b"a\x00\x00", b""), (b"a\x00", b""), (b"a", b""), (b"", b"")]
    keys = [key(row) for row in rows]
    assert keys == sorted(keys)
    assert len({*keys}) == len(keys)


def test_no_component() -> None:
    """The key of no component is no byte, and an open range leaves it out."""
    key = clustering_key([INT], [False])
    assert key([]) == b""
    lo, hi = range_bounds(key, [], True, [], True)
    assert (lo, hi) == (b"\x01", b"\xff")
    assert not lo <= key([]) < hi
    assert lo <= key([int_bytes(-(2**31))]) < hi


def test_bounds() -> None:
    """An inclusive start and an exclusive end stand before their prefix, the others behind it."""
    key = clustering_key([INT, INT], [False, False])
    one, two = [int_bytes(1)], [int_bytes(1), int_bytes(2)]
    assert range_bounds(key, one, True, two, True) == (key(one), key(two) + b"\xff")
    assert range_bounds(key, one, False, two, False) == (key(one) + b"\xff", key(two))


def test_too_many_components() -> None:
    """More components than the table has are refused."""
    with pytest.raises(ValueError, match="clustering: expected at most 1 components, found 2"):
        clustering_key([INT], [False])([None, None])


def test_unknown_type() -> None:
    """What is no type has no order."""
    with pytest.raises(TypeError, match="CqlType is no CQL type"):
        sort_key(CqlType())


def test_maps_by_entry() -> None:
    """Maps compare key, then value, then entry by entry; the shorter first."""
    cql_type = MapType(TEXT, INT)
    entries = [(b"a", 2), (b"b", 1)]
    serialized = [item for name, number in entries for item in (name, int_bytes(number))]
    short, long = (int_bytes(count) + fields(*serialized[: 2 * count]) for count in (1, 2))
    other = int_bytes(1) + fields(b"a", int_bytes(3))
    keys = [sort_key(cql_type)(value) for value in (short, long, other)]
    assert keys == sorted(keys)
