"""PostgreSQL keeps the contract, and what is its own."""

from __future__ import annotations

import dataclasses
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.errors import ConfigurationError, PermanentSinkError, SinkError
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.offsets import LaneState
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.contract import AT_10, ONE, Place, SinkContract, letter
from cdc_pipeline_tests.load.destination import LANE, UNMASKED, Destination
from cdc_pipeline_tests.load.histories import NOW
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes


@dataclasses.dataclass
class Database(Place):
    """A database of the embedded server."""

    conninfo: str
    make_sink: Callable[..., PostgresSink] = PostgresSink

    def sink(self) -> PostgresSink:
        """A sink for it."""
        return self.make_sink("warehouse", self.conninfo)

    def unreachable(self) -> PostgresSink:
        """A port that nobody listens on."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return self.make_sink("warehouse", make_conninfo(self.conninfo, port=port, connect_timeout=2))

    def disconnect(self) -> None:
        """`pg_terminate_backend` for all but ourselves."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """The view's rows."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return sorted(connection.execute(f"SELECT * FROM {name}".encode()).fetchall())


class TestPostgres(SinkContract):
    """The contract."""

    @pytest.fixture
    def place(self, pg_database: str) -> Database:
        """A fresh database."""
        return Database(pg_database)


@pytest.fixture
def destination(pg_database: str) -> Iterator[Callable[..., Destination]]:
    """A function that prepares tables in one fresh database."""
    made: list[Destination] = []

    def prepared(*tables: Table, **how: Any) -> Destination:
        made.append(Destination(pg_database, tables, **how).prepare())
        return made[-1]

    yield prepared
    for one in made:
        one.sink.close()


def insert(key: int, *cells: Cell, ts: int = 1) -> Change:
    return Change((int_bytes(key),), cells=cells, live=ts)


def test_wrong_password_is_permanent(pg_database: str) -> None:
    """A refused password is one sentence without the password, and not worth another try."""
    sink = PostgresSink("warehouse", make_conninfo(pg_database, password="canary-password"))
    with pytest.raises(PermanentSinkError, match="the password is wrong") as caught:
        sink.claim(ONE, "run")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_missing_database_is_permanent(pg_database: str) -> None:
    """A database that is not there does not appear by waiting."""
    sink = PostgresSink("warehouse", make_conninfo(pg_database, dbname="nowhere"))
    with pytest.raises(PermanentSinkError, match="the database or role does not exist"):
        sink.prepare([])


def test_errors_hold_no_driver_text(pg_database: str) -> None:
    """An error of the server says SQLSTATE and place, and has nothing behind it that holds more."""
    sink = PostgresSink("warehouse", pg_database)
    with pytest.raises(SinkError, match="SQLSTATE 42P01") as caught:
        sink.apply(LaneState(ONE), [], [letter()], AT_10, 0)
    sink.close()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_columns_that_came_later(destination: Callable[..., Destination]) -> None:
    """A table prepared again with one more column keeps its rows, on the connection that loaded them."""
    before = table("t", regular=[("v", "int")])
    after = dataclasses.replace(table("t", regular=[("v", "int"), ("w", "set<int>"), ("x", "text")]), id=before.id)
    old = destination(before)
    old.load(batch(before, [insert(1, Cell("v", 1, int_bytes(5)))]))
    new = Destination(old.conninfo, (after,))
    new.sink = old.sink
    new.fitter._sink = old.sink
    new.prepare()
    new.load(batch(after, [insert(1, Cell("x", 2, b"new"), Cell("w", 2, b"", int_bytes(3)))]))
    assert new.query("SELECT pk, v, w, x FROM ks.t") == [(1, 5, [3], "new")]


def test_two_batches_of_one_table(destination: Callable[..., Destination]) -> None:
    """A transaction may bring several batches to one table."""
    of = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int")])
    there = destination(of)
    row = (int_bytes(1),)
    deletion = Change(row, kind=RowKind.PARTITION, deleted=5)
    first = batch(of, [Change(row, (int_bytes(1),), (Cell("v", 1, int_bytes(1)),), live=1)])
    second = batch(of, [Change(row, (int_bytes(1),), (Cell("v", 9, int_bytes(9)),), live=9), deletion], first=500)
    third = batch(of, [deletion, Change(row, kind=RowKind.STATIC, cells=(Cell("s", 7, int_bytes(7)),))], first=900)
    held = there.sink.claim(LANE, "run")
    assert there.apply(held, first, second, third).events_processed == 5
    assert there.query("SELECT * FROM ks.t") == [(1, 1, 7, 9)]


def test_a_range_and_a_row_of_two_lanes_at_once(pg_database: str) -> None:
    """A range deletion and an older row inside it, loaded by two lanes at the same moment, leave no row."""
    of = table("t", clustering=[("ck", "int")], regular=[("v", "int")])
    everything = (Bound((), True), Bound((), True))
    failed: list[BaseException] = []
    with Destination(pg_database, (of,)).prepare(), Destination(pg_database, (of,)).prepare():
        for attempt in range(20):
            key = (int_bytes(attempt),)
            barrier = threading.Barrier(2)
            changes = [
                [Change(key, kind=RowKind.RANGE, deleted=10, bounds=everything)],
                [Change(key, (int_bytes(ck),), (Cell("v", 5, int_bytes(1)),), live=5) for ck in range(20)],
            ]

            def run(mine: list[Change], barrier: threading.Barrier = barrier) -> None:
                try:
                    with Destination(pg_database, (of,)).prepare() as lane:
                        encoded = lane.fit(batch(of, mine)).encoded
                        barrier.wait()
                        lane.sink.load(LANE, [encoded], [], AT_10)
                except BaseException as error:
                    failed.append(error)

            threads = [threading.Thread(target=run, args=(mine,)) for mine in changes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failed == []
        with psycopg.connect(pg_database, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM ks.t").fetchone() == (0,)


def test_as_of_sets_the_clock(destination: Callable[..., Destination]) -> None:
    """An expiring cell is there until its instant; `cdc.as_of` moves the clock, else it is now()."""
    of = table("t", regular=[("v", "int")])
    there = destination(of)
    there.load(batch(of, [insert(1, Cell("v", 1, int_bytes(5), expires=NOW))]))
    changes = [insert(1, Cell("v", 1, int_bytes(5), expires=NOW))]
    for now in (NOW - 1, NOW):
        assert there.compare(of, reference(of, changes).select(now), now).holds
    assert there.query("SELECT v FROM ks.t") == [(None,)]


def test_another_key_is_refused(destination: Callable[..., Destination], tmp_path: Path) -> None:
    """A masking key or rule that changed since the table was loaded stops before anything is written."""
    of = table("t", regular=[("email", "text")])
    first = destination(of, rules=MaskingRules(), ring=KeyRing.generate(tmp_path / "one.json"))
    assert_refused(first, "key", MaskingRules(), KeyRing.generate(tmp_path / "two.json"))
    assert_refused(first, "rule", MaskingRules(pii_fields=(), phi_fields=("email",)), first.ring)
    assert_refused(first, "rule", UNMASKED, first.ring)
    Destination(first.conninfo, (of,), MaskingRules(), first.ring).prepare().sink.close()


def test_masking_what_is_there_in_the_clear_is_refused(destination: Callable[..., Destination], tmp_path: Path) -> None:
    """A rule for a column that was loaded without one would leave its raw values where they are: it stops."""
    first = destination(table("t", regular=[("email", "text")]))
    assert_refused(first, "rule", MaskingRules(), KeyRing.generate(tmp_path / "keys.json"))


def assert_refused(first: Destination, what: str, rules: MaskingRules, ring: KeyRing | None) -> None:
    """The same tables under other rules or keys are not prepared."""
    other = Destination(first.conninfo, first.tables, rules, ring)
    with pytest.raises(ConfigurationError, match=rf"masking {what} that ks\.t\.email was loaded with"):
        other.prepare()
    other.sink.close()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"profile": "exact"}, 'cdc."ks.t": expected column v:v of type text, found it loaded as numeric'),
        ({"overrides": {"ks.t.v": "numeric(9,2)"}}, 'cdc."ks.t": expected column v:v of type numeric(9,2)'),
    ],
)
def test_other_types_are_refused(destination: Callable[..., Destination], how: dict[str, Any], message: str) -> None:
    """A profile or override that changed since the table was loaded is one sentence, not a server's riddle."""
    first = destination(table("t", regular=[("v", "varint"), ("w", "text")]))
    other = Destination(first.conninfo, first.tables, **how)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        other.prepare()
    other.sink.close()


def test_utf8_whatever_the_database_says(make_pg_database: Callable[[], str]) -> None:
    """In a database of another encoding texts arrive as the characters they are, and what it lacks is parked."""
    conninfo = make_pg_database()
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    with psycopg.connect(make_conninfo(conninfo, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0".encode()
        )
    of = table("t", regular=[("v", "text")])
    with Destination(conninfo, (of,), UNMASKED).prepare() as there:
        fits = batch(of, [insert(1, Cell("v", 1, "süß".encode()))])
        there.load(fits)
        assert there.query("SELECT v FROM ks.t") == [("süß",)]
        lacks = there.fitter.fit(batch(of, [insert(2, Cell("v", 1, "日本".encode()))]), probing=True)
        assert [str(one.reason) for one in lacks.letters] == ["REFUSED_BY_DESTINATION"]


def renamed(of: Table, name: str, to: str) -> Table:
    """The table behind `ALTER TABLE … RENAME`."""
    columns = tuple(dataclasses.replace(c, name=to) if c.name == name else c for c in of.columns)
    return dataclasses.replace(of, columns=columns, version=of.version + 1)


@pytest.mark.parametrize(("to", "stops"), [("mail", True), ("email", False), ("plain", True)])
def test_a_masked_key_column_that_is_renamed(pg_database: str, tmp_path: Path, to: str, stops: bool) -> None:
    """Under a name whose rule masks otherwise, or not at all, one key would be two: refused; else it goes on."""
    ring = KeyRing.generate(tmp_path / "keys.json")
    of = table("t", key=[("login", "text")], regular=[("v", "int")])
    path = tmp_path / "masking.yaml"
    path.write_text(
        "pii_fields: [email]\nphi_fields: []\nrules:\n"
        "  - {match: ks.t.login, strategy: PII_HASH, domain: email}\n"
        "  - {match: ks.t.mail, strategy: PII_HASH, domain: mail}\n"
    )
    rules = MaskingRules.load(path)
    Destination(pg_database, (of,), rules, ring).prepare().sink.close()
    later = Destination(pg_database, (renamed(of, "login", to),), rules, ring)
    with later:
        if stops:
            with pytest.raises(
                ConfigurationError, match=r'expected the masking rule that ks\.t\."k:p0" of cdc\."ks\.t"'
            ):
                later.prepare()
        else:
            later.prepare()
