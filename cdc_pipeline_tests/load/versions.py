"""Every pair of versions of a cell, and of a row: what one statement may write in a microsecond, against any other."""

from __future__ import annotations

import itertools

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.changes import Cell, Change, cql, table
from cdc_pipeline_tests.load.histories import NOW, POOLS, SIMPLE
from cdc_pipeline_tests.types.values import counted, int_bytes

Pairs = list[tuple[Change, Change]]

AT = NOW * 1_000_000
EXPIRING = ((NOW + 5, 60), (NOW + 5, 1), (NOW + 9, 60), (NOW - 5, 60))
"""(expiry, TTL) of versions that expire."""

ELEMENTS = {
    "list<int>": (POOLS["timeuuid"][0], (int_bytes(1), int_bytes(-1))),
    "set<text>": (b"a", (b"",)),
    "map<text, int>": (b"k", (int_bytes(1), int_bytes(-1))),
    "name": (b"\x00\x00", (b"x", "ä".encode())),
}
"""A path and values of an element."""


def pairs_of_cells() -> tuple[Table, Pairs]:
    """A table with a column of every type, and all pairs of versions of each, a row of its own for each pair."""
    kinds = [*SIMPLE, "timeuuid", "frozen<list<int>>", *ELEMENTS]
    of = table("t", regular=[(f"c{at:02}", kind) for at, kind in enumerate(kinds)])
    written = [_of_cell(kind, f"c{at:02}") for at, kind in enumerate(kinds)]
    most = max(map(len, written))
    pairs = []
    for number in range(most * most):
        first, second = divmod(number, most)
        sides = [tuple(c for of_kind in written for c in of_kind[at % len(of_kind)]) for at in (first, second)]
        pairs.append((Change((int_bytes(number),), (), sides[0], live=1), Change((int_bytes(number),), (), sides[1])))
    return of, pairs


def pairs_of_rows() -> tuple[Table, Pairs]:
    """A table with a static column, and all pairs of changes of a row, a partition of its own for each pair."""
    of = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int")])
    places = itertools.product(range(len(_of_row((b"",)))), repeat=2)
    pairs = []
    for number, (first, second) in enumerate(places):
        changes = _of_row((int_bytes(number),))
        pairs.append((changes[first], changes[second]))
    return of, pairs


def _of_cell(kind: str, column: str) -> list[tuple[Cell, ...]]:
    """What one statement may write to a column in one microsecond, or just before."""
    cql_type = cql(kind)
    if not cql_type.multi_cell:
        pool = POOLS.get(kind, (counted(), counted(int_bytes(1)), counted(int_bytes(-1))))
        made = [(Cell(column, AT, value),) for value in pool]
        made += [(Cell(column, AT, pool[0], expires=expires, ttl=ttl),) for expires, ttl in EXPIRING]
        return [*made, (Cell(column, AT, None),), (Cell(column, AT - 1, pool[0]),)]
    path, pool = ELEMENTS[kind]
    made = [(Cell(column, AT, value, path),) for value in pool]
    made += [(Cell(column, AT, pool[0], path, expires, ttl=ttl),) for expires, ttl in EXPIRING]
    made += [(Cell(column, AT, None, path),), (Cell(column, AT - 1, pool[-1], path),)]
    deletions = [Cell(column, AT - 1, deletes=True), Cell(column, AT, deletes=True)]
    return [*made, *((deletion,) for deletion in deletions), (deletions[0], *made[0])]


def _of_row(key: tuple[bytes, ...]) -> list[Change]:
    """Livenesses, expiring or not, and deletions of the row, of a range and of the partition."""
    row, everything = (int_bytes(1),), (Bound((), True), Bound((), True))
    found = [Change(key, row, live=AT), Change(key, row, live=AT - 1), Change(key, row, live=AT + 1)]
    found += [Change(key, row, live=AT, live_expires=expires, live_ttl=ttl) for expires, ttl in EXPIRING]
    found += [Change(key, row, (Cell("v", AT, int_bytes(5)),)), Change(key, row, deleted=AT)]
    found += [Change(key, kind=RowKind.RANGE, deleted=AT + more, bounds=everything) for more in (-1, 0)]
    found += [Change(key, kind=RowKind.PARTITION, deleted=AT + more) for more in (-1, 0)]
    return [*found, Change(key, kind=RowKind.STATIC, cells=(Cell("s", AT, int_bytes(7)),))]
