"""A table that is kept equal to the view of the state: the contract, random histories, and what is its own."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from cdc_pipeline.change import Bound, Position, RowKind
from cdc_pipeline.errors import ConfigurationError, TransientSinkError
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.load.postgres.touched import expire
from cdc_pipeline.schema import Table, TableFilter
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.contract import SinkContract
from cdc_pipeline_tests.load.destination import LANE, Destination
from cdc_pipeline_tests.load.histories import NOW, TIMES, histories
from cdc_pipeline_tests.load.merging import deliveries, many
from cdc_pipeline_tests.load.postgres.test_sink import Database
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

EVERY = TableFilter(("*",))


def as_table(*arguments: Any) -> PostgresSink:
    return PostgresSink(*arguments, options=PostgresOptions(surfaces=EVERY))


VALUES = [("r0", "double"), ("r1", "text"), ("r2", "list<int>"), ("r3", "map<text, int>"), ("r4", "decimal")]
STATICS = [("s0", "decimal"), ("s1", "set<text>")]
TABLES = (
    table("t", key=[("p0", "int")], clustering=[("c0", "text desc"), ("c1", "int")], regular=VALUES),
    table("t", key=[("p0", "text")], clustering=[("c0", "timeuuid")], static=STATICS, regular=VALUES),
    table("t", key=[("p0", "int"), ("p1", "bigint")], clustering=[("c0", "double")], static=STATICS, regular=VALUES),
    table("t", key=[("p0", "decimal"), ("p1", "text")], regular=VALUES),
    table("t", key=[("p0", "blob")], regular=VALUES),
)
"""Keys whose typed values identify a row, and keys of which some do not; with static columns and without."""

AT = Position("CommitLog-7-1.log", 10)
INT = (int_bytes(1),)


class TestSurface(SinkContract):
    """The contract."""

    @pytest.fixture
    def place(self, pg_database: str) -> Database:
        """A fresh database."""
        return Database(pg_database, as_table)


@pytest.fixture
def destination(pg_database: str) -> Iterator[Callable[..., Destination]]:
    """A function that prepares tables in one fresh database."""
    made: list[Destination] = []

    def prepared(*tables: Table, make_sink: Callable[..., PostgresSink] = as_table, **how: Any) -> Destination:
        made.append(Destination(pg_database, tables, make_sink=make_sink, **how))
        return made[-1].prepare()

    yield prepared
    for one in made:
        one.sink.close()


def clocked(conninfo: str, now: int) -> str:
    """A connection whose clock stands at `now` (s)."""
    instant = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return make_conninfo(conninfo, options=f"-c cdc.as_of={instant}")


@pytest.mark.parametrize("of", TABLES, ids=["exact", "static", "static bytes", "bytes", "alone"])
@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@settings(many, max_examples=20)
def test_any_order_gives_cassandras_answer(
    new_database: Callable[[], str], of: Table, data: st.DataObject, profile: str
) -> None:
    """Shuffled, repeated, cut at random, truncated, at a clock that goes on, the table is what the reference says."""
    history = data.draw(histories(of=of))
    conninfo = new_database()
    state = reference(history.table, history.changes)
    truncated = data.draw(st.sampled_from([None, *TIMES]))
    how: dict[str, Any] = {"profile": profile, "make_sink": as_table}
    with Destination(clocked(conninfo, NOW - 2), (of,), **how).prepare() as there:
        for changes in data.draw(deliveries(history)):
            assert there.load(batch(of, changes)) == []
        if truncated is not None:
            there.truncate(of, truncated)
            state.truncate(truncated)
        parity = there.compare(of, state.select(NOW - 2), NOW - 2)
        assert (parity.missing, parity.extra) == ((), ())
    for now in (NOW, NOW + 2000):
        with Destination(clocked(conninfo, now), (of,), **how).prepare() as there:
            there.sink.load(LANE, [], [], AT)
            parity = there.compare(of, state.select(now), now)
            assert (parity.missing, parity.extra) == ((), ())


def row(key: int, value: int, ts: int, **more: Any) -> Change:
    return Change((int_bytes(key),), cells=(Cell("v", ts, int_bytes(value), **more),), live=ts)


SIMPLE = table("t", regular=[("v", "int")])


def test_only_what_differs_is_written(destination: Callable[..., Destination]) -> None:
    """A row that comes again stays the very same version; one that changed is the only new one."""
    there = destination(SIMPLE)
    changes = [row(key, 1, 5) for key in range(3)]
    there.load(batch(SIMPLE, changes))
    before = there.query("SELECT xmin, ctid FROM ks.t ORDER BY pk")
    there.load(batch(SIMPLE, changes))
    assert there.query("SELECT xmin, ctid FROM ks.t ORDER BY pk") == before
    there.load(batch(SIMPLE, [*changes, row(1, 2, 6)]))
    after = there.query("SELECT xmin, ctid FROM ks.t ORDER BY pk")
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (table("t", key=[("a", "int")]), "PRIMARY KEY (a)"),
        (table("t", key=[("a", "text"), ("b", "text")], clustering=[("c", "text")]), "PRIMARY KEY (a, b, c)"),
        (table("t", key=[("a", "int")], clustering=[("c", "int")]), "UNIQUE (a, c) NULLS NOT DISTINCT"),
        (
            table("t", key=[("a", "int")], clustering=[("c", "text")], static=[("s", "int")]),
            "UNIQUE (a, c) NULLS NOT DISTINCT",
        ),
        (table("t", key=[("a", "double")]), "(a)"),
    ],
)
def test_what_identifies_a_row(destination: Callable[..., Destination], of: Table, expected: str) -> None:
    """A primary key where no part can be NULL, else a unique index; none where two keys have one typed value."""
    there = destination(of)
    definition = there.query(
        "SELECT coalesce(pg_get_constraintdef(c.oid), CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || "
        "substring(pg_get_indexdef(i.indexrelid) from '\\(.*')) FROM pg_index i "
        "LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid WHERE i.indrelid = 'ks.t'::regclass"
    )
    assert definition == [(expected,)]


def test_users_may_index_join_and_refer(destination: Callable[..., Destination]) -> None:
    """An index, a foreign key and a view of the user's own live with the table, whatever is loaded and prepared."""
    there = destination(SIMPLE)
    there.load(batch(SIMPLE, [row(1, 1, 5)]))
    with psycopg.connect(there.conninfo, autocommit=True) as connection:
        connection.execute("CREATE INDEX ON ks.t (v)")
        connection.execute("CREATE TABLE mine (pk int REFERENCES ks.t)")
        connection.execute("CREATE VIEW of_mine AS SELECT pk, v FROM ks.t")
    there.load(batch(SIMPLE, [row(1, 2, 6), row(2, 2, 6)]))
    there.prepare()
    assert there.query("SELECT * FROM of_mine ORDER BY 1") == [(1, 2), (2, 2)]


def test_from_view_to_table_and_back(destination: Callable[..., Destination]) -> None:
    """Either becomes the other with the same rows and grants, and is kept up afterwards."""
    as_view = PostgresSink
    kinds = []
    privilege = "SELECT relkind::text, has_table_privilege('public', oid, 'SELECT') FROM pg_class "
    for loaded, make_sink in enumerate((as_view, as_table, as_view, as_table)):
        there = destination(SIMPLE, make_sink=make_sink)
        if not loaded:
            with psycopg.connect(there.conninfo, autocommit=True) as connection:
                connection.execute("GRANT SELECT ON ks.t TO PUBLIC")
        assert there.query("SELECT count(*) FROM ks.t") == [(loaded,)]
        there.load(batch(SIMPLE, [row(loaded, 1, 5)]))
        assert there.query("SELECT count(*) FROM ks.t") == [(loaded + 1,)]
        kinds += there.query(f"{privilege} WHERE oid = 'ks.t'::regclass")
    assert kinds == [("v", True), ("r", True)] * 2


def test_what_expires_without_a_change(destination: Callable[..., Destination]) -> None:
    """An expired cell stays until the lane's next commit, or until it is swept out by hand."""
    there = destination(SIMPLE)
    soon = int(time.time()) + 2
    there.load(batch(SIMPLE, [row(1, 1, 5, expires=soon), row(2, 1, 5)]))
    assert there.query("SELECT pk, v FROM ks.t ORDER BY 1") == [(1, 1), (2, 1)]
    while time.time() < soon + 0.1:
        time.sleep(0.05)
    assert there.query("SELECT pk, v FROM ks.t ORDER BY 1") == [(1, 1), (2, 1)]
    plan = there.sink.table_plan(SIMPLE, there.masks["ks.t"])
    with psycopg.connect(there.conninfo) as connection:
        expire(connection, plan)
    assert there.query("SELECT pk, v FROM ks.t ORDER BY 1") == [(1, None), (2, 1)]
    assert there.query(f"SELECT count(*) FROM {plan.expiries}") == [(0,)]


def test_columns_that_come_go_and_are_renamed(destination: Callable[..., Destination]) -> None:
    """The table follows the newest state of Cassandra's, also while a lane behind fills it; the user's column stays."""
    old = table("t", clustering=[("ck", "int")], regular=[("v", "int"), ("w", "text")])
    new = table("t", clustering=[("nr", "int")], regular=[("a", "int"), ("v", "int")], static=[("s", "int")])
    new = dataclasses.replace(new, id=old.id, version=10)
    behind = destination(old)
    behind.load(batch(old, [Change(INT, INT, (Cell("v", 5, int_bytes(5)), Cell("w", 5, b"w")), live=5)]))
    with psycopg.connect(behind.conninfo, autocommit=True) as connection:
        connection.execute("ALTER TABLE ks.t ADD COLUMN mine int DEFAULT 7")
    ahead = destination(new)
    ahead.load(
        batch(
            new,
            [
                Change(INT, INT, (Cell("a", 6, int_bytes(6)),)),
                Change((int_bytes(2),), kind=RowKind.STATIC, cells=(Cell("s", 5, int_bytes(9)),)),
            ],
        )
    )
    behind.load(batch(old, [Change(INT, (int_bytes(2),), (Cell("v", 7, int_bytes(7)), Cell("w", 7, b"w")), live=7)]))
    found = ahead.query("SELECT to_jsonb(t) FROM ks.t t ORDER BY pk, nr")
    assert [one for (one,) in found] == [
        {"pk": 1, "nr": 1, "a": 6, "v": 5, "s": None, "mine": 7},
        {"pk": 1, "nr": 2, "a": None, "v": 7, "s": None, "mine": 7},
        {"pk": 2, "nr": None, "a": None, "v": None, "s": 9, "mine": 7},
    ]


def test_a_table_made_again_with_another_key(destination: Callable[..., Destination]) -> None:
    """What a dropped table had is gone, and the key is the new one's; a lane behind adds nothing."""
    old = table("t", clustering=[("ck", "int")], regular=[("v", "int")])
    new = dataclasses.replace(table("t", key=[("name", "text")], regular=[("v", "int")]), id=uuid.uuid1())
    behind = destination(old)
    behind.load(batch(old, [Change(INT, INT, (Cell("v", 5, int_bytes(5)),), live=5)]))
    ahead = destination(new)
    ahead.load(batch(new, [Change((b"x",), (), (Cell("v", 5, int_bytes(5)),), live=5)]))
    behind.load(batch(old, [Change(INT, (int_bytes(2),), (Cell("v", 5, int_bytes(5)),), live=5)]))
    assert ahead.query("SELECT to_jsonb(t) FROM ks.t t") == [({"name": "x", "v": 5},)]


def test_a_table_of_others_is_refused(destination: Callable[..., Destination], pg_database: str) -> None:
    """A table of the same name that the pipeline did not make is never written to."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ks")
        connection.execute("CREATE TABLE ks.t (pk int)")
    with pytest.raises(ConfigurationError, match="expected no table of this name but the pipeline's own, found one"):
        destination(SIMPLE)


@pytest.mark.parametrize("static", [[], [("s", "int")]])
def test_lanes_at_once(pg_database: str, static: list[tuple[str, str]]) -> None:
    """Lanes that write rows, static rows and ranges of one partition at once leave the table equal to its view."""
    of = table("t", clustering=[("ck", "int")], static=static, regular=[("v", "int")])
    with Destination(pg_database, (of,), make_sink=as_table).prepare() as there:
        plan = there.sink.table_plan(of, there.masks["ks.t"])
    failed: list[BaseException] = []

    def lane(number: int) -> None:
        try:
            with Destination(pg_database, (of,), make_sink=as_table).prepare() as mine:
                for turn in range(15):
                    ts = 10 * turn + number
                    changes = [
                        Change(INT, (int_bytes(ck),), (Cell("v", ts, int_bytes(ts)),), live=ts) for ck in range(9)
                    ]
                    bounds = (Bound((int_bytes(turn % 9),), True), Bound((int_bytes(turn % 9),), True))
                    changes.append(Change(INT, kind=RowKind.RANGE, deleted=ts + 3, bounds=bounds))
                    if static:
                        changes.append(Change(INT, kind=RowKind.STATIC, cells=(Cell("s", ts, int_bytes(ts)),)))
                    while True:
                        try:
                            mine.load(batch(of, changes))
                            break
                        except TransientSinkError:
                            continue
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=lane, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    with psycopg.connect(pg_database) as connection:
        shown = "SELECT pk, ck, v FROM " if not static else "SELECT pk, ck, s, v FROM "
        rows = [sorted(connection.execute(f"{shown}{name}".encode()).fetchall()) for name in (plan.public, plan.view)]
    assert rows[0] == rows[1]
    assert rows[0]


def test_a_primary_key_that_can_be_none(destination: Callable[..., Destination]) -> None:
    """A table that gains a static column has rows without clustering from then on: its primary key becomes an index."""
    before = table("t", key=[("a", "text")], clustering=[("b", "text")], regular=[("v", "int")])
    after = table("t", key=[("a", "text")], clustering=[("b", "text")], static=[("s", "int")], regular=[("v", "int")])
    after = dataclasses.replace(after, id=before.id, version=10)
    old = destination(before)
    old.load(batch(before, [Change((b"x",), (b"y",), (Cell("v", 5, int_bytes(5)),), live=5)]))
    new = destination(after)
    new.load(batch(after, [Change((b"z",), kind=RowKind.STATIC, cells=(Cell("s", 5, int_bytes(9)),))]))
    assert new.query("SELECT a, b, s, v FROM ks.t ORDER BY a") == [("x", "y", None, 5), ("z", None, 9, None)]
    new.load(batch(after, [Change((b"z",), (b"y",), (Cell("v", 6, int_bytes(6)),), live=6)]))
    assert new.query("SELECT a, b, s, v FROM ks.t ORDER BY a") == [("x", "y", None, 5), ("z", "y", 9, 6)]
