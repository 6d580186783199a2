"""A batch merged to one row per key: the winners are those of the order-free reference, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cdc_pipeline.change import NO_TIMESTAMP, Bound, RowKind
from cdc_pipeline.transform import compact
from cdc_pipeline.transform.compaction import TOMBSTONE_X, TTL_BITS, MergedBatch, Rows, expiring_x
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.histories import History, histories
from cdc_pipeline_tests.load.reference import STATIC, reference
from cdc_pipeline_tests.types.values import decimal_bytes, int_bytes

OF = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("m", "map<int, int>"), ("v", "int")])
KEY, ONE, TWO = (int_bytes(9),), int_bytes(1), int_bytes(2)
LATE = 4_294_967_293  # the last second that a segment of version 8 can name


def merged(*changes: Change, without: frozenset[int] = frozenset()) -> MergedBatch:
    return compact(batch(OF, changes), without)


def cells(rows: Rows, of: MergedBatch) -> dict[tuple[int, str, bytes | None], tuple[int, int, bytes | None]]:
    """(merged row, column, path) -> (ts, x, value)."""
    names = of.table.value_columns
    won = rows.cells
    return {
        (row, names[column].name, path): (ts, x, value)
        for row, column, path, ts, x, value in zip(
            won.row.tolist(),
            won.column.tolist(),
            won.path.to_pylist(),
            won.ts.tolist(),
            won.x.tolist(),
            won.value.to_pylist(),
            strict=True,
        )
    }


def v(ts: int, value: bytes | None, expires: int | None = None, ttl: int = 60) -> Change:
    return Change(KEY, (ONE,), (Cell("v", ts, value, expires=expires, ttl=ttl),))


def x(expires: int, ttl: int = 60) -> int:
    """The `x` of a cell that expires."""
    return int(expiring_x(np.array([expires]), np.array([ttl]))[0])


TIES = {
    "later": (v(1, TWO), v(2, ONE), (2, 0, ONE)),
    "tombstone over live": (v(1, TWO), v(1, None), (1, TOMBSTONE_X, None)),
    "tombstone over expiring": (v(1, TWO, LATE), v(1, None), (1, TOMBSTONE_X, None)),
    "expiring over live": (v(1, int_bytes(9)), v(1, ONE, 5), (1, x(5), ONE)),
    "later expiry": (v(1, TWO, 5), v(1, ONE, 6, 10**6), (1, x(6, 10**6), ONE)),
    "smaller TTL of equal expiries": (v(1, TWO, 5, 61), v(1, ONE, 5, 60), (1, x(5, 60), ONE)),
    "greater bytes": (v(1, ONE), v(1, TWO), (1, 0, TWO)),
    "greater bytes, unsigned": (v(1, ONE), v(1, int_bytes(-1)), (1, 0, int_bytes(-1))),
    "greater bytes of equal expiries": (v(1, TWO, 5), v(1, ONE, 5), (1, x(5), TWO)),
    "longer bytes": (v(1, b""), v(1, b"\x00"), (1, 0, b"\x00")),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("first", "second", "winner"), TIES.values(), ids=TIES)
def test_cassandras_rule(first: Change, second: Change, winner: tuple[int, int, bytes | None], turned: bool) -> None:
    """The greatest (timestamp, rank, expiry, bytes) wins, in whatever order they came."""
    found = merged(second, first) if turned else merged(first, second)
    assert cells(found.rows, found) == {(0, "v", None): winner}


def test_ties_of_many() -> None:
    """Of any number of equal versions the greatest bytes win."""
    changes = [v(1, int_bytes(n)) for n in (3, 7, 5, 7, 1)] + [v(0, int_bytes(99))]
    assert cells(merged(*changes).rows, merged(*changes)) == {(0, "v", None): (1, 0, int_bytes(7))}


def test_paths_are_cells_of_their_own() -> None:
    """Elements of a multi-cell column are merged by path, an empty path is one, and deletions stand beside them."""
    change = Change(KEY, (ONE,), (Cell("m", 4, deletes=True), Cell("m", 5, ONE, ONE), Cell("m", 5, ONE, b"")))
    again = Change(KEY, (ONE,), (Cell("m", 6, deletes=True), Cell("m", 6, TWO, ONE)))
    found = merged(change, again)
    assert cells(found.rows, found) == {(0, "m", ONE): (6, 0, TWO), (0, "m", b""): (5, 0, ONE)}
    deletions = found.rows.deletions
    assert (deletions.row.tolist(), deletions.column.tolist(), deletions.ts.tolist()) == ([0], [1], [6])


def test_liveness_and_deletions() -> None:
    """Of livenesses the latest wins, at a tie the expiring one, then the later expiry; of deletions the greatest."""
    live = [
        Change(KEY, (ONE,), live=5),
        Change(KEY, (ONE,), live=5, live_expires=70),
        Change(KEY, (ONE,), live=5, live_expires=60),
        Change(KEY, (ONE,), live=4, live_expires=LATE),
        Change(KEY, (ONE,), deleted=3),
        Change(KEY, (ONE,), deleted=2),
        Change(KEY, (TWO,), (Cell("v", 1, ONE),)),
    ]
    rows = merged(*live).rows
    assert (rows.live_ts.tolist(), rows.live_x.tolist()) == ([5, NO_TIMESTAMP], [x(70), 0])
    assert rows.del_ts.tolist() == [3, NO_TIMESTAMP]
    assert len(rows) == 2


def test_rows_are_sorted_and_counted() -> None:
    """Merged rows come by key; each names the rows of the batch that it was merged of."""
    found = merged(Change(KEY, (TWO,), live=1), Change(KEY, (ONE,), live=1), Change(KEY, (TWO,), live=2))
    assert found.rows.clustering[0].to_pylist() == [ONE, TWO]
    assert found.rows.source.tolist() == [1, 0]
    assert sorted(found.rows.shared.tolist()) == [0, 2]
    assert found.changes == 3


def test_equal_clusterings_are_one_row() -> None:
    """Decimals of one value and different scale are one row, as they are for Cassandra; keys are compared by bytes."""
    of = table("t", key=[("pk", "decimal")], clustering=[("ck", "decimal")])
    a, b = decimal_bytes(10, 1), decimal_bytes(100, 2)
    changes = [Change((a,), (a,), live=1), Change((a,), (b,), live=2), Change((b,), (a,), live=3)]
    assert len(compact(batch(of, changes)).rows) == 2


def test_statics_and_ranges_stand_apart() -> None:
    """Static rows, ranges and partition deletions are not rows; each range keeps its own bounds."""
    bounds = [(Bound((ONE,), True), Bound((), True)), (Bound((), True), Bound((TWO,), False))]
    found = merged(
        Change(KEY, kind=RowKind.RANGE, deleted=4, bounds=bounds[0]),
        Change(KEY, kind=RowKind.STATIC, cells=(Cell("s", 1, ONE),)),
        Change(KEY, kind=RowKind.NOTHING),
        Change(KEY, kind=RowKind.RANGE, deleted=5, bounds=bounds[1]),
        Change(KEY, kind=RowKind.PARTITION, deleted=6),
        without=frozenset({0}),
    )
    assert (len(found.rows), len(found.static), found.changes) == (0, 1, 3)
    assert [(one.start, one.end, one.ts, one.source) for one in found.ranges] == [
        (*bounds[1], 5, 3),
        (None, None, 6, 4),
    ]


def test_a_partition_of_one_row() -> None:
    """Without clustering columns a deletion of the partition is one of its row."""
    of = table("t")
    found = compact(batch(of, [Change(KEY, kind=RowKind.PARTITION, deleted=6), Change(KEY, live=5)]))
    assert (found.rows.del_ts.tolist(), found.ranges) == ([6], ())


def test_apart_merges_nothing() -> None:
    """Each row for itself, with all its cells."""
    found = compact(batch(OF, [v(1, ONE), v(1, ONE), v(2, TWO)]), apart=True)
    assert len(found.rows) == 3
    assert sorted(cells(found.rows, found)) == [(0, "v", None), (1, "v", None), (2, "v", None)]
    assert found.rows.shared.tolist() == []


def test_an_empty_batch() -> None:
    """Nothing merges to nothing."""
    found = merged()
    assert (len(found.rows), len(found.static), found.ranges, found.changes) == (0, 0, (), 0)


@given(history=histories())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_winner_is_the_references(history: History) -> None:
    """Cells, livenesses, row and column deletions of random histories are those of the reference."""
    found = compact(batch(history.table, history.changes))
    assert found.changes == len(history.changes)
    state = reference(history.table, history.changes)
    ours: dict[object, tuple[int, int, int, int, bytes]] = {}
    for rows, clustering in ((found.rows, None), (found.static, STATIC)):
        keys = list(zip(*(array.to_pylist() for array in rows.keys), strict=True))
        prefixes = list(zip(*(array.to_pylist() for array in rows.clustering), strict=True)) or [()] * len(rows)
        places = [(key, clustering or prefix) for key, prefix in zip(keys, prefixes, strict=True)]
        for (row, column, path), (ts, x, value) in cells(rows, found).items():
            order = 2 if x == TOMBSTONE_X else 1 if x else 0
            expiry, ttl = (x >> TTL_BITS, (1 << TTL_BITS) - 1 - x % (1 << TTL_BITS)) if order == 1 else (0, 0)
            version = (ts, order, expiry, -ttl, value or b"")
            where = (*places[row], column, state.path(column, path))  # two forms of one path are merged behind this
            ours[where] = max(version, ours.get(where, version))
    assert ours == state.cells
