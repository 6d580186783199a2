"""The HTTP front as `clickhouse-connect` and plain HTTP see it; what is claimed here holds for a real server too."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from cdc_pipeline_tests.chaos.proxy import Cut, TcpProxy
from cdc_pipeline_tests.clickhouse import ChDatabase

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def client(ch_database: ChDatabase) -> Iterator[Client]:
    """A client whose default database is empty but for a table `t (n UInt32, s String)`."""
    name = f"{ch_database.prefix}front"
    with contextlib.closing(ch_database.client()) as first:
        first.command(f"CREATE DATABASE {name}")
    with contextlib.closing(ch_database.client(database=name)) as made:
        made.command("CREATE TABLE t (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
        yield made


def rows(client: Client, query: str = "SELECT n, s FROM t ORDER BY n, s") -> list[tuple[object, ...]]:
    return [tuple(row) for row in client.query(query).result_rows]


def ask(
    place: ChDatabase, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """One plain request with the right password: status, body, headers."""
    token = base64.b64encode(f"{place.username}:{place.password}".encode()).decode()
    with contextlib.closing(http.client.HTTPConnection(place.host, place.port, timeout=30)) as connection:
        connection.request(method, path, body, {"Authorization": f"Basic {token}", **headers})  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())


def test_inserts_in_every_way_of_the_client(client: Client) -> None:
    """Native, Arrow, text with the statement before it, and a generator with the statement in the URL."""
    client.insert("t", [[1, "native"]], column_names=["n", "s"])
    client.insert_arrow("t", pa.table({"n": pa.array([2], pa.uint32()), "s": ["arrow"]}))
    client.raw_insert("t", ["n", "s"], "3\ttext\n", fmt="TabSeparated")
    client.raw_insert("t", ["n", "s"], (piece for piece in (b'4,"gener', b'ator"\n')), fmt="CSV")
    client.command("INSERT INTO t SETTINGS async_insert = 0 FORMAT CSV", data="5,settings\n")
    client.command("INSERT INTO t (n, s) VALUES", data="(6, 'values')")
    assert rows(client) == [(1, "native"), (2, "arrow"), (3, "text"), (4, "generator"), (5, "settings"), (6, "values")]


def test_one_line_feed_is_taken_off_the_data(client: Client) -> None:
    """Data that begin with a line feed, as a first value of a Native block may, keep theirs."""
    client.raw_insert("t", ["s"], "\nsecond\n", fmt="LineAsString")
    assert rows(client, "SELECT s FROM t ORDER BY s") == [("",), ("second",)]


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip"])
def test_compressed_inserts_of_many_frames(client: Client, ch_database: ChDatabase, compress: str) -> None:
    """A client that compresses sends a frame for each of its blocks."""
    with contextlib.closing(ch_database.client(database=client.database, compress=compress)) as packing:
        packing.insert("t", [[n, "x" * 100] for n in range(200_000)], column_names=["n", "s"])
        assert rows(packing, "SELECT count(), uniq(n) > 190000, sum(length(s)) FROM t") == [(200_000, True, 20_000_000)]


def test_errors_carry_clickhouses_number_and_text(client: Client) -> None:
    """A statement that fails says why, and the client can be used again."""
    for statement, code in (("SELECT * FROM nowhere", 60), ("SELECT (", 62), ("SELECT throwIf(1)", 395)):
        with pytest.raises(DatabaseError, match=f"Code: {code}") as caught:
            client.query(statement)
        assert caught.value.code == code
    with pytest.raises(DatabaseError, match="Cannot parse"):
        client.raw_insert("t", insert_block="x,y\n", fmt="CSV")
    assert rows(client) == []


def test_a_statement_without_end_is_refused(ch_database: ChDatabase) -> None:
    """A text that is no INSERT is held in memory, so it has a bound; the connection is told so."""
    status, body, _ = ask(ch_database, "POST", "/", b"SELECT '" + b"x" * (65 << 20) + b"'")
    assert status >= 400
    assert b"Code: " in body


def test_statuses_of_plain_requests(ch_database: ChDatabase) -> None:
    """Health checks, an unknown path, a method and a write by GET."""
    assert ask(ch_database, "GET", "/ping")[:2] == (200, b"Ok.\n")
    assert ask(ch_database, "GET", "/nowhere")[0] == 404
    status, body, headers = ask(ch_database, "GET", "/?" + urlencode({"query": "CREATE DATABASE never"}))
    assert status >= 400
    assert b"READONLY" in body
    assert headers["X-ClickHouse-Exception-Code"] == "164"
    assert ask(ch_database, "PATCH", "/", "SELECT 1")[0] >= 400
    assert ask(ch_database, "POST", "/", "SELECT 1 FORMAT TSV")[:2] == (200, b"1\n")


def test_parameters_and_settings_are_of_one_request(client: Client) -> None:
    """Bound values of any length, settings of a call, and none of them later."""
    long = "it's\t\\ " * 2000
    assert client.query("SELECT {a:String}, {b:Int32}", parameters={"a": long, "b": -1}).result_rows == [(long, -1)]
    assert rows(client, "SELECT getSetting('max_threads')") != [(1,)]
    threads = client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows
    assert threads == [(1,)]
    assert rows(client, "SELECT getSetting('max_threads')") != [(1,)]


def test_sessions_keep_what_is_theirs(client: Client, ch_database: ChDatabase) -> None:
    """A temporary table and a SET live in their session, a setting of one call does not; others see neither."""
    client.command("CREATE TEMPORARY TABLE mine (n UInt8)")
    client.command("INSERT INTO mine VALUES (7)", settings={"max_threads": 1})
    client.command("SET max_block_size = 123")
    assert rows(client, "SELECT n, getSetting('max_block_size'), getSetting('max_threads') = 1 FROM mine") == [
        (7, 123, 0)
    ]
    with contextlib.closing(ch_database.client(database=client.database)) as other:
        assert rows(other, "SELECT getSetting('max_block_size') = 123") == [(False,)]
        with pytest.raises(DatabaseError) as caught:
            rows(other, "SELECT * FROM mine")
        assert caught.value.code == 60


def test_a_long_query_is_in_nobodys_way(client: Client, ch_database: ChDatabase) -> None:
    """While one sleeps in a query, others write and read."""
    slow = threading.Thread(target=lambda: ask(ch_database, "POST", "/", "SELECT sleep(2) FORMAT Null"))
    slow.start()
    begun = time.monotonic()
    client.insert("t", [[1, "a"]], column_names=["n", "s"])
    assert rows(client) == [(1, "a")]
    assert slow.is_alive()
    assert time.monotonic() - begun < 2
    slow.join(30)


def test_writers_and_readers_at_once(client: Client, ch_database: ChDatabase) -> None:
    """Eight clients that insert and count at the same time lose no row."""
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with contextlib.closing(ch_database.client(database=client.database)) as own:
                for batch in range(10):
                    own.insert("t", [[number * 1000 + batch, "x"]], column_names=["n", "s"])
                    own.query("SELECT count() FROM t")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert rows(client, "SELECT count(), uniqExact(n) FROM t") == [(80, 80)]


def test_large_results_are_streamed(client: Client) -> None:
    """A million rows in Native blocks and as one Arrow stream; a client may leave early."""
    query = "SELECT number AS n, toString(number) AS s FROM numbers(1000000)"
    with client.query_row_block_stream(query) as blocks:
        assert sum(len(block) for block in blocks) == 1_000_000
    with client.query_arrow_stream(query) as batches:
        table = pa.Table.from_batches(list(batches))
    assert table.num_rows == 1_000_000
    assert table.column("n").to_numpy().sum() == 499_999_500_000
    with client.query_row_block_stream("SELECT number FROM numbers(100000000)") as blocks:
        assert len(next(iter(blocks))) > 0
    assert client.query_arrow("SELECT n FROM t WHERE n = 0").schema.names == ["n"]


def test_an_error_in_the_middle_of_a_result_is_an_error(client: Client) -> None:
    """Rows that were sent already do not pass for the whole."""
    query = "SELECT throwIf(number = 500000) FROM numbers(1000000) SETTINGS max_block_size = 1000, max_threads = 1"
    with pytest.raises((DatabaseError, OperationalError), match="Value passed to 'throwIf'"):
        rows(client, query)
    assert rows(client, "SELECT 1") == [(1,)]


def test_counts_of_a_statement_come_with_it(ch_database: ChDatabase, client: Client) -> None:
    """The summary says how many rows an INSERT wrote."""
    path = "/?" + urlencode({"query": "INSERT INTO t FORMAT CSV", "database": client.database})
    status, _, headers = ask(ch_database, "POST", path, b"1,a\n2,b\n")
    assert status == 200
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "2"


@pytest.mark.parametrize("cut", list(Cut))
def test_a_connection_cut_at_an_insert(client: Client, ch_database: ChDatabase, cut: Cut) -> None:
    """Through the fault proxy: an insert that is cut is there as a whole or not at all, and the client hears of it."""
    place = (ch_database.host, ch_database.port)
    with TcpProxy(place, b"INSERT", lambda count: cut if count == 1 else None) as proxy:
        through = ChDatabase(place[0], proxy.port, ch_database.username, ch_database.password, ch_database.prefix)
        with contextlib.closing(through.client(database=client.database)) as faulty:
            values = ", ".join(f"({n}, 'x')" for n in range(1000))
            with pytest.raises(OperationalError):
                faulty.command(f"INSERT INTO t VALUES {values}")  # which the client, other than insert, never repeats
    assert proxy.cuts == [cut]
    if cut is Cut.REPLY:
        assert rows(client, "SELECT count() FROM t") == [(1000,)]
    assert rows(client, "SELECT count() FROM t") in ([(0,)], [(1000,)])


def test_a_body_that_is_cut_off_writes_nothing(client: Client, ch_database: ChDatabase) -> None:
    """A client that goes in the middle of its data has inserted none of them."""
    token = base64.b64encode(f"{ch_database.username}:{ch_database.password}".encode()).decode()
    path = "/?" + urlencode({"query": "INSERT INTO t FORMAT CSV", "database": client.database})
    connection = http.client.HTTPConnection(ch_database.host, ch_database.port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", path)
        connection.putheader("Authorization", f"Basic {token}")
        connection.putheader("Content-Length", "100000")
        connection.endheaders(b"1,a\n" * 1000)
    time.sleep(0.2)
    assert rows(client, "SELECT count() FROM t") == [(0,)]
