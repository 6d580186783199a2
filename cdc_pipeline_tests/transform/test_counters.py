"""Counter contexts taken apart into shards, and the shards that may be forgotten."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.change import CellKind
from cdc_pipeline.transform.counters import by_shard, count_of, path_of, shards, undominated
from cdc_pipeline_tests.load.changes import Cell, Change, batch, context, table
from cdc_pipeline_tests.types.values import int_bytes

OF = table("t", regular=[("m", "counter"), ("n", "counter")])
KEY = (int_bytes(1),)
ONE, TWO = (1).to_bytes(16, "big"), (2).to_bytes(16, "big")
LONGS = st.integers(-(2**63), 2**63 - 1)


def test_a_context_of_a_real_node() -> None:
    """The format document's example: one global shard of the node's own running total."""
    raw = bytes.fromhex("00018000e2923652646843b58bb4471dccb66eea000660ddb2c11c58fffffffffffffff9")
    assert shards(raw) == [(bytes.fromhex("e2923652646843b58bb4471dccb66eea"), 0x660DDB2C11C58, -7)]


def test_a_context_of_two_writers() -> None:
    """Merged contexts, as a repair writes them, hold a shard of each writer."""
    assert shards(context((1, 5, -3), (2, 7, 2**63 - 1))) == [(ONE, 5, -3), (TWO, 7, 2**63 - 1)]


LOCAL, REMOTE = b"\x00\x01\x00\x00", b"\x00\x00"
SHARD = ONE + bytes(16)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected a counter context of whole shards, found 0 bytes"),
        (b"\x00", "expected a counter context of whole shards, found 1 bytes"),
        (b"\x00\x00", "expected a counter context of whole shards, found 2 bytes"),
        (b"\x00\x01\x80\x00", "expected a counter context of whole shards, found 4 bytes"),
        (b"\x00\x01\x80\x00" + SHARD[:-1], "expected a counter context of whole shards, found 35 bytes"),
        (b"\x00\x09\x80\x00" + SHARD, "expected a counter context of whole shards, found 36 bytes"),
        (b"\xff\xff" + SHARD, "expected a counter context of whole shards, found 34 bytes"),
        (LOCAL + SHARD, "expected global shards alone, found one of before Cassandra 2.1"),
        (REMOTE + SHARD, "expected global shards alone, found one of before Cassandra 2.1"),
        (b"\x00\x01\x80\x00" + SHARD + TWO + bytes(16), "expected global shards alone, found one of before"),
        (b"\x00\x01\x80\x01" + SHARD, "expected global shards alone, found one of before Cassandra 2.1"),
        (context((1, 5, 1), (1, 6, 1)), "expected a shard for each counter id, found two of one"),
    ],
)
def test_what_is_no_context(raw: bytes, message: str) -> None:
    """Each says what was expected; no number is made up."""
    with pytest.raises(ValueError, match=message):
        shards(raw)


@given(first=st.tuples(LONGS, LONGS), second=st.tuples(LONGS, LONGS))
def test_paths_sort_by_clock_then_count(first: tuple[int, int], second: tuple[int, int]) -> None:
    """As Cassandra compares two global shards of one counter id."""
    assert (path_of(ONE, *first) < path_of(ONE, *second)) == (first < second)
    assert count_of(path_of(ONE, *first)) == first[1]


def cells(*changes: Change) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """(column, kind, path, value) of the cells by shard."""
    made = by_shard(batch(OF, changes)).cells
    columns = [made.column(name).to_pylist() for name in ("column", "kind", "path", "value")]
    return list(zip(*columns, strict=True))


def test_increments_become_shards() -> None:
    """What a node writes, one global shard a cell, and what else there is, take the same way."""
    plain = Change(KEY, cells=(Cell("m", 1, context((1, 5, -3))), Cell("n", 1, context((1, 6, 4)))))
    wanted = [(0, CellKind.LIVE, path_of(ONE, 5, -3), None), (1, CellKind.LIVE, path_of(ONE, 6, 4), None)]
    assert cells(plain) == wanted
    merged = Change(KEY, cells=(Cell("m", 1, context((1, 7, 1), (2, 8, 2))),))
    both = [(0, CellKind.LIVE, path_of(ONE, 7, 1), None), (0, CellKind.LIVE, path_of(TWO, 8, 2), None)]
    assert cells(plain, merged, plain) == [*wanted, *both, *wanted]


def test_rows_keep_their_cells() -> None:
    """Each row ends where its shards end."""
    two = Change(KEY, cells=(Cell("m", 1, context((1, 7, 1), (2, 8, 2))),))
    none = Change(KEY, deleted=5)
    assert by_shard(batch(OF, [two, none, two])).rows.column("cell_end").to_pylist() == [2, 2, 4]


def test_a_tombstone_deletes_the_column() -> None:
    """A cell tombstone of a counter hides all of it."""
    assert cells(Change(KEY, cells=(Cell("m", 1),))) == [(0, CellKind.COLUMN_DELETION, None, None)]


def test_what_cannot_be_read_stays() -> None:
    """A context that is none, and a counter that expires, stay values without a path."""
    expiring = Cell("n", 1, context((1, 5, 1)), expires=7)
    assert cells(Change(KEY, cells=(Cell("m", 1, b"?"), expiring))) == [
        (0, CellKind.LIVE, None, b"?"),
        (1, CellKind.EXPIRING, None, context((1, 5, 1))),
    ]


def left(*known: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Of shards (writetime, clock, count) of one counter id those that are kept."""
    zeros = np.zeros(len(known), np.int64)
    path = pa.array([path_of(ONE, clock, count) for _, clock, count in known], pa.binary())
    kept = undominated(zeros, zeros, np.array([ts for ts, _, _ in known], np.int64), path)
    return [one for one, keep in zip(known, kept.tolist(), strict=True) if keep]


def test_the_greatest_clock_is_left() -> None:
    """Where clocks and writetimes rise together, one shard is left; at equal clocks the greater count."""
    assert left((1, 1, 1), (3, 3, 3), (2, 2, 2)) == [(3, 3, 3)]
    assert left((1, 1, 1), (1, 1, 2)) == [(1, 1, 2)]


def test_a_younger_shard_with_a_smaller_clock_is_left_too() -> None:
    """A deletion may hide the one with the greatest clock and not the other."""
    assert left((9, 1, 1), (5, 5, 5), (4, 4, 4), (7, 3, 3)) == [(9, 1, 1), (5, 5, 5), (7, 3, 3)]


@given(known=st.lists(st.tuples(*[st.integers(0, 4)] * 3), unique=True), floor=st.integers(-1, 5))
def test_what_is_forgotten_never_counts(known: list[tuple[int, int, int]], floor: int) -> None:
    """Whatever deletion comes later, the greatest clock above it is the same; and nothing is kept for nothing."""

    def greatest(shards: list[tuple[int, int, int]], floor: int) -> tuple[int, int] | None:
        return max(((clock, count) for ts, clock, count in shards if ts > floor), default=None)

    kept = left(*known)
    assert greatest(kept, floor) == greatest(known, floor)
    for one in kept:
        assert greatest([other for other in kept if other != one], one[0] - 1) != greatest(kept, one[0] - 1)
