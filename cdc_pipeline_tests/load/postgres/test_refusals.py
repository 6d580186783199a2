"""What a real server refuses, and what becomes of it: another try, one row parked, or a stop."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterEvent
from cdc_pipeline.errors import PermanentSinkError, RowsRefused, TransientSinkError
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.connection import connect
from cdc_pipeline.load.postgres.errors import classified
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.contract import ONE, letter
from cdc_pipeline_tests.load.destination import LANE, Destination
from cdc_pipeline_tests.types.values import int_bytes

OF = table("t", regular=[("v", "text")])
AT = Position("CommitLog-7-1.log", 10)


@pytest.fixture
def there(pg_database: str) -> Iterator[Destination]:
    """A prepared table."""
    with Destination(pg_database, (OF,)).prepare() as destination:
        yield destination


@pytest.fixture
def admin(pg_database: str) -> Iterator[psycopg.Connection]:
    """Another session of the same database."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        yield connection


def inserts(count: int) -> list[Change]:
    """Rows with a text each."""
    return [Change((int_bytes(n),), (), (Cell("v", 1, b"x" * 50),), live=1) for n in range(count)]


def loads(there: Destination, conninfo: str, count: int = 1) -> None:
    """A micro-batch on a connection with other settings."""
    with Destination(conninfo, (OF,)) as other:
        other.sink._plans.update(there.sink._plans)
        other.sink._cell_oid = there.sink._cell_oid
        encoded = other.fit(batch(OF, inserts(count))).encoded
        other.sink.load(LANE, [encoded], [], AT)


def test_too_many_connections(there: Destination, admin: psycopg.Connection) -> None:
    """A database without a connection left, for a role that may not use the reserved ones: later there is one."""
    name = admin.info.dbname
    admin.execute(f"CREATE ROLE {name}_user LOGIN PASSWORD 'secret' CONNECTION LIMIT 0".encode())
    conninfo = make_conninfo(there.conninfo, user=f"{name}_user", password="secret")
    try:
        with pytest.raises(TransientSinkError, match="the server has no connection left"):
            PostgresSink("warehouse", conninfo).state(ONE)
    finally:
        admin.execute(f"DROP ROLE {name}_user".encode())


def test_read_only(there: Destination) -> None:
    """A standby, or a primary that became one, may be promoted: nothing is parked, nothing stops."""
    read_only = make_conninfo(there.conninfo, options="-c default_transaction_read_only=on")
    with pytest.raises(TransientSinkError, match="SQLSTATE 25006"):
        loads(there, read_only)
    assert there.query("SELECT * FROM ks.t") == []


@pytest.mark.parametrize(
    ("setting", "state"),
    [("lock_timeout=50ms", "55P03"), ("statement_timeout=50ms", "57014")],
    ids=["lock", "statement"],
)
def test_timeouts(there: Destination, admin: psycopg.Connection, setting: str, state: str) -> None:
    """A timeout that the operator set is worth another try: the lock may be free then."""
    with admin.transaction():
        admin.execute('LOCK TABLE cdc."ks.t"')
        with pytest.raises(TransientSinkError, match=f"SQLSTATE {state}"):
            loads(there, make_conninfo(there.conninfo, options=f"-c {setting}"))
    loads(there, there.conninfo)
    assert len(there.query("SELECT * FROM ks.t")) == 1


def test_a_session_that_is_ended(there: Destination, admin: psycopg.Connection) -> None:
    """An administrator's word in the middle of a transaction rolls it back; the next try has it all."""
    there.sink._open()
    with contextlib.ExitStack() as stack:
        stack.enter_context(admin.transaction())
        admin.execute('LOCK TABLE cdc."ks.t"')
        failed: list[BaseException] = []

        def load() -> None:
            try:
                there.load(batch(OF, inserts(3)))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        for _ in range(500):
            if admin.execute(f"{waiting} AND datname = current_database()".encode()).fetchall():
                break
            admin.execute("SELECT pg_sleep(0.01)")
        thread.join(10)
    (error,) = failed
    assert type(error) is TransientSinkError
    assert "57P01" in str(error)
    there.load(batch(OF, inserts(3)))
    assert len(there.query("SELECT * FROM ks.t")) == 3


def test_no_room_for_temporary_files(there: Destination) -> None:
    """What the server has no room for (class 53) waits for room."""
    small = make_conninfo(there.conninfo, options="-c temp_file_limit=64kB -c work_mem=64kB -c temp_buffers=100")
    with connect(small) as connection, pytest.raises(psycopg.errors.ConfigurationLimitExceeded) as caught:
        connection.execute("SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY g::text) s")
    assert type(classified(caught.value, "warehouse", "sorting")) is TransientSinkError


def test_no_permission_stops(there: Destination, admin: psycopg.Connection) -> None:
    """A missing grant does not come by waiting: the lane stops and says which SQLSTATE."""
    name = admin.info.dbname
    admin.execute(f"CREATE ROLE {name}_user LOGIN PASSWORD 'secret'".encode())
    try:
        with pytest.raises(PermanentSinkError, match="SQLSTATE 42501") as caught:
            loads(there, make_conninfo(there.conninfo, user=f"{name}_user", password="secret"))
        assert type(caught.value) is PermanentSinkError
    finally:
        admin.execute(f"DROP ROLE {name}_user".encode())


def test_one_row_of_many_is_parked(there: Destination, admin: psycopg.Connection) -> None:
    """A constraint that somebody put on the state table refuses one row: it alone is parked, and says its SQLSTATE."""
    admin.execute('ALTER TABLE cdc."ks.t" ADD CHECK ("k:p0" <> 33)')
    changes = batch(OF, inserts(100))
    with pytest.raises(RowsRefused, match="SQLSTATE 23514"):
        there.sink.load(LANE, [there.fit(changes).encoded], [], AT)
    fitted = there.fitter.fit(changes, probing=True)
    there.sink.load(LANE, [fitted.encoded], fitted.letters, AT)
    (parked,) = there.sink.dead_letters()
    assert parked.reason == "REFUSED_BY_DESTINATION"
    assert parked.message == "table ks.t: destination warehouse refused the row: SQLSTATE 23514"
    assert len(there.query("SELECT * FROM ks.t")) == 99


@pytest.mark.parametrize("bad", ["a\0b", "lone \ud800 surrogate"])
def test_text_that_no_postgresql_holds(there: Destination, bad: str) -> None:
    """U+0000, or half of a surrogate pair, in a letter of a damaged place does not stop the lane."""
    one = letter()
    fields = {**vars(one), "message": f"column {bad}", "table": bad, "event": {bad: [bad, {"deep": bad}]}}
    there.sink.load(LANE, [], [DeadLetterEvent(**fields)], AT)
    (stored,) = there.sink.dead_letters()
    assert stored.id == one.id
    shown = stored.message.removeprefix("column ")
    assert stored.event == {shown: [shown, {"deep": shown}]}
    assert "\0" not in shown
    assert shown[0] == bad[0]


def test_a_paused_session_is_not_for_ever(pg_database: str) -> None:
    """A session idles in a transaction for a minute at most, unless somebody set another limit."""

    def limit(conninfo: str) -> str:
        with connect(conninfo) as connection:
            (found,) = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() or ("",)
            return str(found)

    assert limit(pg_database) == "1min"
    assert limit(make_conninfo(pg_database, options="-c idle_in_transaction_session_timeout=5s")) == "5s"


def test_a_server_that_vanishes_is_noticed(pg_database: str) -> None:
    """Keepalives and timeouts are set, and what the connection string says wins."""
    with connect(make_conninfo(pg_database, keepalives_idle=7)) as connection:
        given = conninfo_to_dict(connection.info.dsn)
    assert (given["keepalives_idle"], given["tcp_user_timeout"]) == ("7", "60000")
