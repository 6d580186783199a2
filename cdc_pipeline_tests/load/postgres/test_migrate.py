"""DDL runs once: later starts neither lock the tables nor lose what an administrator granted."""

from __future__ import annotations

import dataclasses
import threading
import uuid

import psycopg
import pytest

from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.schema import Column, ColumnKind, Table, TableFilter
from cdc_pipeline.transform import MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline.types import Scalar

TABLE = Table(
    "shop",
    "orders",
    uuid.UUID(int=7),
    (
        Column("id", ColumnKind.PARTITION_KEY, Scalar("int"), 0),
        Column("at", ColumnKind.CLUSTERING, Scalar("timestamp"), 0, descending=True),
        Column("note", ColumnKind.REGULAR, Scalar("text")),
    ),
    cdc=True,
)


def prepare(conninfo: str, table: Table = TABLE, profile: str = "native") -> None:
    policy = MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None, "allow")
    sink = PostgresSink("warehouse", conninfo, profile)
    try:
        sink.prepare([(table, TableMasks(policy, table))])
    finally:
        sink.close()


def with_column(name: str) -> Table:
    return dataclasses.replace(TABLE, columns=(*TABLE.columns, Column(name, ColumnKind.REGULAR, Scalar("int"))))


def columns(connection: psycopg.Connection[tuple[str, ...]]) -> list[str]:
    cursor = connection.execute('SELECT * FROM "shop"."orders"')
    assert cursor.description is not None
    return [column.name for column in cursor.description]


def test_a_second_start_waits_for_no_reader(pg_database: str) -> None:
    """A transaction that reads the view does not keep the next start waiting, nor the start the reader."""
    prepare(pg_database)
    with psycopg.connect(pg_database) as reader:
        reader.execute("SELECT * FROM shop.orders")
        again = threading.Thread(target=prepare, args=(f"{pg_database} options='-c lock_timeout=2s'",))
        again.start()
        again.join(10)
        assert not again.is_alive()


def test_grants_outlive_a_start_and_a_new_column(pg_database: str) -> None:
    """What an administrator granted on a view stays when nothing changed, and when a column was added at the end."""
    prepare(pg_database)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON shop.orders TO PUBLIC")
        prepare(pg_database)
        prepare(pg_database, with_column("total"))
        assert columns(connection) == ["id", "at", "note", "total"]
        grant = "SELECT has_table_privilege('public', 'shop.orders', 'SELECT')"
        assert connection.execute(grant).fetchone() == (True,)


def test_a_column_in_the_middle(pg_database: str) -> None:
    """A column whose name sorts before another makes the view anew; the rows are the same."""
    prepare(pg_database)
    between = dataclasses.replace(TABLE, columns=tuple(sorted(with_column("amount").columns, key=lambda c: c.name)))
    ordered = (*between.partition_key, *between.clustering, *between.regular)
    prepare(pg_database, dataclasses.replace(TABLE, columns=ordered))
    with psycopg.connect(pg_database) as connection:
        assert columns(connection) == ["id", "at", "amount", "note"]


@pytest.mark.parametrize("dropped", ['VIEW "shop"."orders"', 'TABLE cdc."shop.orders:ranges"'])
def test_what_was_dropped_by_hand_is_made_again(dropped: str, pg_database: str) -> None:
    """A view or a ledger that somebody dropped is there again after the next start."""
    prepare(pg_database)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(f"DROP {dropped}".encode())
        prepare(pg_database)
        assert columns(connection) == ["id", "at", "note"]
        assert connection.execute('SELECT count(*) FROM cdc."shop.orders:ranges"').fetchone() == (0,)


def test_two_start_at_once(pg_database: str) -> None:
    """Several first starts at the same time make the tables once, and none fails."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            prepare(pg_database)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with psycopg.connect(pg_database) as connection:
        assert columns(connection) == ["id", "at", "note"]


def test_grants_outlive_a_view_made_anew(pg_database: str) -> None:
    """What was granted stays, too, when a column in the middle or a dropped one makes the view anew."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        prepare(pg_database)
        connection.execute("GRANT SELECT ON shop.orders TO PUBLIC")
        connection.execute("GRANT SELECT ON shop.orders TO pg_monitor WITH GRANT OPTION")
        without = dataclasses.replace(TABLE, columns=TABLE.columns[:2], version=1)
        prepare(pg_database, without)
        assert columns(connection) == ["id", "at"]
        for role, kind in (("public", "SELECT"), ("pg_monitor", "SELECT WITH GRANT OPTION")):
            granted = connection.execute("SELECT has_table_privilege(%s, 'shop.orders', %s)", (role, kind)).fetchone()
            assert granted == (True,)
        assert connection.execute("SELECT has_table_privilege('public', 'shop.orders', 'INSERT')").fetchone() == (
            False,
        )


def test_a_lane_behind_takes_nothing_back(pg_database: str) -> None:
    """The view is that of the greatest version, whichever lane prepares; the state table has the columns of all."""
    renamed = dataclasses.replace(
        TABLE, version=20, columns=(dataclasses.replace(TABLE.columns[0], name="number"), *TABLE.columns[1:])
    )
    with psycopg.connect(pg_database, autocommit=True) as connection:
        for table in (dataclasses.replace(TABLE, version=10), renamed, TABLE, with_column("total")):
            prepare(pg_database, table)
        assert columns(connection) == ["number", "at", "note"]
        prepare(pg_database, dataclasses.replace(with_column("total"), version=30))
        assert columns(connection) == ["id", "at", "note", "total"]


def test_the_table_that_was_made_last(pg_database: str) -> None:
    """Of the tables of one name the view shows the one whose id is the youngest, in whatever order they come."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        for seconds, name in ((50, "second"), (90, "third"), (10, "first")):
            made = uuid.UUID(fields=(seconds, 0, 0x1000, 0x80, 0, 1))
            column = Column(name, ColumnKind.REGULAR, Scalar("int"))
            prepare(pg_database, dataclasses.replace(TABLE, id=made, columns=(*TABLE.columns[:2], column)))
        assert columns(connection) == ["id", "at", "third"]
        made_again = 'SELECT count(*) FROM cdc."shop.orders", cdc."shop.orders#2", cdc."shop.orders#3"'
        assert connection.execute(made_again).fetchone() == (0,)


def user_view(connection: psycopg.Connection[tuple[str, ...]], query: str = "SELECT id, note FROM shop.orders") -> None:
    connection.execute("CREATE SCHEMA mine")
    connection.execute(f"CREATE VIEW mine.notes AS {query}".encode())


def test_a_view_of_the_users_own_lets_columns_come(pg_database: str) -> None:
    """Where a user's view depends on ours, a column that comes in the middle is shown at the end, and both live."""
    prepare(pg_database)
    between = dataclasses.replace(
        TABLE, columns=(*TABLE.columns[:2], *with_column("amount").columns[3:], TABLE.columns[2])
    )
    with psycopg.connect(pg_database, autocommit=True) as connection:
        user_view(connection)
        prepare(pg_database, between)
        assert columns(connection) == ["id", "at", "note", "amount"]
        assert connection.execute("SELECT * FROM mine.notes").fetchall() == []


def test_a_view_of_the_users_own_stops_nothing(pg_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where ours cannot be replaced it stays, the log names what depends on it, and the next start after it is gone
    replaces it."""
    prepare(pg_database)
    without = dataclasses.replace(TABLE, columns=TABLE.columns[:2], version=1)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        user_view(connection)
        for _ in range(2):
            prepare(pg_database, without)
            assert columns(connection) == ["id", "at", "note"]
            assert "found mine.notes to depend on it" in capsys.readouterr().out
        connection.execute("DROP VIEW mine.notes")
        prepare(pg_database, without)
        assert columns(connection) == ["id", "at"]
        assert capsys.readouterr().out == ""


def test_a_view_of_the_users_own_keeps_ours_a_view(pg_database: str) -> None:
    """A table cannot take the place of a view that something depends on: it stays a view, and is right."""
    policy = MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None, "allow")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        kinds = []
        for depends in (True, False):
            prepare(pg_database)
            if depends:
                user_view(connection)
            else:
                connection.execute("DROP VIEW mine.notes")
            sink = PostgresSink("warehouse", pg_database, options=PostgresOptions(surfaces=TableFilter(("*",))))
            sink.prepare([(TABLE, TableMasks(policy, TABLE))])
            sink.close()
            kinds += connection.execute(
                "SELECT relkind::text FROM pg_class WHERE oid = 'shop.orders'::regclass"
            ).fetchall()
            assert columns(connection) == ["id", "at", "note"]
        assert kinds == [("v",), ("r",)]
