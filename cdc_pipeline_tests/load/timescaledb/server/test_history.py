"""The history of a table: a row per change, once, whatever comes again and in whatever order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load.timescaledb import HypertableOptions
from cdc_pipeline.schema import TableFilter
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.timescaledb.server.conftest import compress_all
from cdc_pipeline_tests.types.values import decimal_bytes, int_bytes

Prepared = Callable[..., Destination]
OPTIONS = HypertableOptions(history=TableFilter(("ks.*",)), compress_after=timedelta(days=7))
ORDERS = table(
    "orders",
    key=[("id", "decimal")],
    clustering=[("line", "int")],
    static=[("note", "text")],
    regular=[("price", "int"), ("state", "text"), ("tags", "set<text>")],
)
ID = (decimal_bytes(10, 1),)
NOW = 1_700_000_000_000_000


def changes() -> list[Change]:
    line = (int_bytes(1),)
    price, done = Cell("price", NOW, int_bytes(5)), Cell("state", NOW + 2, None)
    tags = (Cell("tags", NOW + 2, deletes=True), Cell("tags", NOW + 3, b"", b"red"))
    everything = (Bound((), True), Bound((), True))
    return [
        Change(ID, line, (price, Cell("state", NOW, b"new")), live=NOW),
        Change(ID, line, (Cell("price", NOW + 1, int_bytes(7)),)),
        Change(ID, line, (done,)),
        Change(ID, line, tags),
        Change(ID, kind=RowKind.STATIC, cells=(Cell("note", NOW + 4, b"hi"),)),
        Change(ID, line, deleted=NOW + 5),
        Change(ID, kind=RowKind.RANGE, deleted=NOW + 6, bounds=(Bound(line, True), Bound(line, True))),
        Change(ID, kind=RowKind.RANGE, deleted=NOW + 7, bounds=everything),
        Change(ID, kind=RowKind.PARTITION, deleted=NOW + 8),
    ]


QUERY = """
SELECT writetime - 1700000000000000, operation, columns, line, price, state, tags, note
FROM ks.orders$history ORDER BY 1
"""
EXPECTED = [
    (0, "insert", ["price", "state"], 1, 5, "new", None, None),
    (1, "update", ["price"], 1, 7, None, None, None),
    (2, "update", ["state"], 1, None, None, None, None),
    (3, "update", ["tags"], 1, None, None, ["red"], None),
    (4, "update static", ["note"], None, None, None, None, "hi"),
    (5, "delete", [], 1, None, None, None, None),
    (6, "delete range", [], None, None, None, None, None),
    (7, "delete range", [], None, None, None, None, None),
    (8, "delete partition", [], None, None, None, None, None),
]


def test_every_change_once(destination: Prepared) -> None:
    """Each change of a batch is a row, though the state keeps only what won; again, cut or compressed adds nothing."""
    there = destination(ORDERS, options=OPTIONS)
    there.load(batch(ORDERS, changes()))
    assert there.query(QUERY) == EXPECTED
    assert there.query("SELECT changed_at::text FROM ks.orders$history ORDER BY 1 LIMIT 1") == [
        ("2023-11-14 22:13:20+00",)
    ]
    assert compress_all(there) == 1
    for one in reversed(changes()):
        there.load(batch(ORDERS, [one]))
    there.load(batch(ORDERS, [*changes(), *changes()]))
    assert there.query(QUERY) == EXPECTED
    assert there.query("SELECT * FROM ks.orders") == []


def test_two_writes_of_one_microsecond(destination: Prepared) -> None:
    """Both are kept, whichever came first, though one of them never shows in the state."""
    there = destination(ORDERS, options=OPTIONS)
    both = [Change(ID, (int_bytes(1),), (Cell("price", NOW, int_bytes(n)),)) for n in (5, 7)]
    for order in (both, both[::-1]):
        for one in order:
            there.load(batch(ORDERS, [one]))
    assert there.query("SELECT price FROM ks.orders$history ORDER BY 1") == [(5,), (7,)]
    assert there.query("SELECT price FROM ks.orders") == [(7,)]


def test_a_parked_change_is_in_no_history(destination: Prepared) -> None:
    """What cannot be loaded is a dead letter and nothing else."""
    there = destination(ORDERS, options=OPTIONS)
    good = Change(ID, (int_bytes(1),), (Cell("state", NOW, b"ok"),))
    bad = Change(ID, (int_bytes(1),), (Cell("state", NOW + 1, b"no\x00"),))
    assert len(there.load(batch(ORDERS, [good, bad]))) == 1
    assert there.query("SELECT state FROM ks.orders$history") == [("ok",)]


def test_masked_columns_are_masked_there(destination: Prepared, tmp_path: Path) -> None:
    """No raw value of a masked column is in the history."""
    rules = MaskingRules(pii_fields=("state",), phi_fields=())
    there = destination(ORDERS, options=OPTIONS, rules=rules, ring=KeyRing.generate(tmp_path / "keys.json"))
    there.load(batch(ORDERS, [Change(ID, (int_bytes(1),), (Cell("state", NOW, b"canary"),))]))
    ((text,),) = there.query('SELECT h::text FROM cdc."ks.orders:history" h')
    assert "canary" not in text
    assert there.query("SELECT h.state = s.state FROM ks.orders$history h, ks.orders s") == [(True,)]


def test_columns_that_came_later(destination: Prepared) -> None:
    """The history of a table that gains a column gains it, too, though its chunks are compressed."""
    there = destination(ORDERS, options=OPTIONS)
    there.load(batch(ORDERS, changes()))
    assert compress_all(there) == 1
    columns = [("price", "int"), ("state", "text"), ("tags", "set<text>"), ("weight", "double")]
    wider = table(
        "orders", key=[("id", "decimal")], clustering=[("line", "int")], static=[("note", "text")], regular=columns
    )
    wider = dataclasses.replace(wider, id=ORDERS.id, version=5)
    new = destination(wider, options=OPTIONS)
    new.load(batch(wider, [Change(ID, (int_bytes(1),), (Cell("weight", NOW + 9, bytes(8)),))]))
    assert new.query(QUERY) == [*EXPECTED, (9, "update", ["weight"], 1, None, None, None, None)]
    assert new.query("SELECT weight FROM ks.orders$history WHERE writetime = 1700000000000009") == [(0.0,)]


@pytest.mark.parametrize("name", ["operation", "writetime"])
def test_columns_of_the_same_names(destination: Prepared, name: str) -> None:
    """A column of Cassandra keeps its name; that of the history gets a prefix."""
    of = table("t", regular=[(name, "int")])
    there = destination(of, options=OPTIONS)
    there.load(batch(of, [Change((int_bytes(1),), cells=(Cell(name, NOW, int_bytes(3)),))]))
    assert there.query(f"SELECT {name}, cdc_{name} IS NULL FROM ks.t$history") == [(3, False)]
