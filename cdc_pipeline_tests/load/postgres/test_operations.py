"""Each operation of Cassandra by itself, its changes in every order and each twice: what `SELECT` answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json
from typing import Any

import pytest

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.types import Scalar
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.histories import NOW, POOLS
from cdc_pipeline_tests.types.values import counted, fields, int_bytes, vector

OF = table(
    "t",
    clustering=[("ck", "int desc")],
    static=[("s", "int")],
    regular=[
        ("a", "int"),
        ("b", "text"),
        ("l", "list<int>"),
        ("m", "map<text, int>"),
        ("st", "set<int>"),
        ("u", "name"),
        ("f", "frozen<list<int>>"),
        ("tu", "frozen<tuple<int, text>>"),
        ("ve", "vector<float, 2>"),
    ],
)
ROW = (int_bytes(1),)
EARLY, LATE, LATER = POOLS["timeuuid"][1], POOLS["timeuuid"][0], POOLS["timeuuid"][2]
ONE, TWO, THREE = (int_bytes(n) for n in (1, 2, 3))


def insert(ts: int, *cells: Cell, ck: int = 1, expires: int | None = None) -> Change:
    """INSERT: liveness and cells."""
    return Change((b"",), (int_bytes(ck),), cells, live=ts, live_expires=expires)


def update(*cells: Cell, ck: int = 1) -> Change:
    """UPDATE, or DELETE of columns: cells alone."""
    return Change((b"",), (int_bytes(ck),), cells)


def delete(ts: int, ck: int = 1) -> Change:
    """DELETE of a row."""
    return Change((b"",), (int_bytes(ck),), deleted=ts)


def delete_range(ts: int, start: tuple[bytes, ...], end: tuple[bytes, ...], *inclusive: bool) -> Change:
    """DELETE of a slice; bounds in the order of the clustering, which is descending."""
    bounds = (Bound(start, inclusive[0] if start else True), Bound(end, inclusive[1] if end else True))
    return Change((b"",), kind=RowKind.RANGE, deleted=ts, bounds=bounds)


def static(ts: int, value: bytes | None) -> Change:
    """An UPDATE of the static column."""
    return Change((b"",), kind=RowKind.STATIC, cells=(Cell("s", ts, value),))


UNIT = vector(Scalar("float"), b"\x3f\x80\0\0", bytes(4))
DROPPED = Change((b"",), kind=RowKind.PARTITION, deleted=5)

Rows = list[dict[str, Any]]

OPERATIONS: dict[str, tuple[list[Change], Rows]] = {
    "insert": ([insert(1, Cell("a", 1, ONE), Cell("b", 1, b"x"))], [{"ck": 1, "a": 1, "b": "x"}]),
    "insert of some columns": (
        [insert(1, Cell("a", 1, ONE), Cell("b", 1, b"x")), insert(2, Cell("a", 2, TWO))],
        [{"ck": 1, "a": 2, "b": "x"}],
    ),
    "insert of the key alone": ([insert(1)], [{"ck": 1}]),
    "update of a missing row": ([update(Cell("a", 1, ONE))], [{"ck": 1, "a": 1}]),
    "column set to null": ([insert(1, Cell("a", 1, ONE)), update(Cell("a", 2))], [{"ck": 1}]),
    "the last column of an update set to null": ([update(Cell("a", 1, ONE)), update(Cell("a", 2))], []),
    "late older write": ([insert(2, Cell("a", 2, TWO)), insert(1, Cell("a", 1, ONE))], [{"ck": 1, "a": 2}]),
    "delete and write in one microsecond": ([update(Cell("a", 5, ONE)), update(Cell("a", 5))], []),
    "row deletion and insert in one microsecond": ([insert(5, Cell("a", 5, ONE)), delete(5)], []),
    "two writes in one microsecond": (
        [insert(5, Cell("a", 5, ONE), Cell("b", 5, b"x")), insert(5, Cell("a", 5, int_bytes(-1)), Cell("b", 5, b"ab"))],
        [{"ck": 1, "a": -1, "b": "x"}],
    ),
    "delete of a row": ([insert(1, Cell("a", 1, ONE)), delete(2)], []),
    "late older write after a delete": ([delete(5), insert(4, Cell("a", 4, ONE)), update(Cell("b", 5, b"x"))], []),
    "newer insert after a delete": (
        [insert(1, Cell("a", 1, ONE), Cell("b", 1, b"x")), delete(2), insert(3, Cell("b", 3, b"y"))],
        [{"ck": 1, "b": "y"}],
    ),
    "range, both ends inclusive": (
        [*(insert(1, ck=ck) for ck in (1, 2, 3)), delete_range(5, (TWO,), (ONE,), True, True)],
        [{"ck": 3}],
    ),
    "range, both ends exclusive": (
        [*(insert(1, ck=ck) for ck in (1, 2, 3)), delete_range(5, (THREE,), (ONE,), False, False)],
        [{"ck": 1}, {"ck": 3}],
    ),
    "range without an end": (
        [*(insert(1, ck=ck) for ck in (1, 2, 3)), delete_range(5, (TWO,), (), False, True)],
        [{"ck": 2}, {"ck": 3}],
    ),
    "range, and newer rows inside": (
        [insert(1, ck=1), insert(6, ck=2), delete_range(5, (), (), True, True)],
        [{"ck": 2}],
    ),
    "partition": ([insert(1), insert(6, ck=2), static(4, ONE), DROPPED], [{"ck": 2}]),
    "expired": ([insert(1, Cell("a", 1, ONE, expires=NOW), expires=NOW)], []),
    "an expired column of a row": (
        [insert(1, Cell("a", 1, ONE, expires=NOW), Cell("b", 1, b"x"))],
        [{"ck": 1, "b": "x"}],
    ),
    "not expired yet": (
        [insert(1, Cell("a", 1, ONE, expires=NOW + 1), expires=NOW + 1)],
        [{"ck": 1, "a": 1}],
    ),
    "two expiries in one microsecond": (
        [update(Cell("a", 1, ONE, expires=NOW + 5)), update(Cell("a", 1, TWO, expires=NOW + 9))],
        [{"ck": 1, "a": 2}],
    ),
    "list append and prepend": (
        [update(Cell("l", 1, TWO, LATE)), update(Cell("l", 2, THREE, LATER)), update(Cell("l", 3, ONE, EARLY))],
        [{"ck": 1, "l": [2, 3, 1]}],
    ),
    "list index set and removed": (
        [
            update(Cell("l", 1, ONE, EARLY), Cell("l", 1, TWO, LATE)),
            update(Cell("l", 2, THREE, EARLY)),
            update(Cell("l", 2, None, LATE)),
        ],
        [{"ck": 1, "l": [3]}],
    ),
    "set add and remove": (
        [update(Cell("st", 1, b"", ONE), Cell("st", 1, b"", TWO)), update(Cell("st", 2, None, ONE))],
        [{"ck": 1, "st": [2]}],
    ),
    "map put and remove": (
        [
            update(Cell("m", 1, ONE, b"k"), Cell("m", 1, TWO, b"gone")),
            update(Cell("m", 2, THREE, b"k")),
            update(Cell("m", 2, None, b"gone")),
        ],
        [{"ck": 1, "m": {"k": 3}}],
    ),
    "empty collection": ([insert(1, Cell("st", 1, b"", ONE)), update(Cell("st", 2, None, ONE))], [{"ck": 1}]),
    "collection overwritten": (
        [update(Cell("m", 1, ONE, b"old")), update(Cell("m", 1, deletes=True), Cell("m", 2, TWO, b"new"))],
        [{"ck": 1, "m": {"new": 2}}],
    ),
    "field of a user type": (
        [
            update(Cell("u", 1, b"Ada", b"\x00\x00"), Cell("u", 1, ONE, b"\x00\x01")),
            update(Cell("u", 2, TWO, b"\x00\x01")),
        ],
        [{"ck": 1, "u": {"first": "Ada", '"Last"': 2}}],
    ),
    "frozen, tuple, vector": (
        [
            insert(
                1,
                Cell("f", 1, counted(ONE)),
                Cell("tu", 1, fields(ONE, b"x")),
                Cell("ve", 1, vector(Scalar("float"), b"\x3f\x80\0\0", bytes(4))),
            ),
            update(Cell("f", 2, counted(TWO, ONE))),
        ],
        [{"ck": 1, "f": [2, 1], "tu": [1, "x"], "ve": [1.0, 0.0]}],
    ),
    "static": ([insert(1), insert(1, ck=2), static(1, ONE), static(2, TWO)], [{"ck": 1, "s": 2}, {"ck": 2, "s": 2}]),
    "static alone": ([static(1, ONE), insert(1), delete(2)], [{"ck": None, "s": 1}]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_order(pg_database: str, name: str) -> None:
    """Whatever order its changes come in, in one batch or many, and however often, an operation has one answer."""
    changes, expected = OPERATIONS[name]
    orders = list(itertools.permutations(changes))[:60]
    with Destination(pg_database, (OF,)).prepare() as there:
        rounds = max(map(len, orders))
        placed = [[dataclasses.replace(c, key=(int_bytes(n),)) for c in order] for n, order in enumerate(orders)]
        for at in [*range(rounds), *range(rounds)]:
            there.load(batch(OF, [order[at] for order in placed]))
        together = [dataclasses.replace(change, key=(int_bytes(-1),)) for change in (*changes, *changes)]
        there.load(batch(OF, together))
        as_of = dt.datetime.fromtimestamp(NOW, dt.UTC).isoformat()
        connection = there.sink._open()
        connection.execute("SELECT set_config('cdc.as_of', %s, false)", (as_of,))
        found = connection.execute("SELECT pk, to_jsonb(t) - 'pk' FROM ks.t ORDER BY pk, ck").fetchall()
    wanted = [_shown(row) for row in expected]
    for number in (-1, *range(len(orders))):
        rows = [json.loads(json.dumps(row)) for pk, row in found if pk == number]
        assert rows == wanted, number


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {column.name: None for column in OF.columns if column.name != "pk"} | row
