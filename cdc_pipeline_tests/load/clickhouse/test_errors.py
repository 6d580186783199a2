"""What is done about each of a server's codes, about errors from below the driver, and about want of memory."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest
import urllib3.exceptions
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, SinkError, TransientSinkError
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.errors import translated
from cdc_pipeline.retry import Retry
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, address_of
from cdc_pipeline_tests.types.values import decimal_bytes, int_bytes, varint_bytes

CANARY = "canary-of-a-value"
ROWS = (6, 26, 27, 53, 69, 70, 117, 131, 321, 349, 407, 469)
PASSING = (
    *(159, 164, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 254, 279, 285, 286, 319, 341, 394, 439, 473, 517),
    *(745, 999),
)
LASTING = (33, 36, 47, 60, 62, 81, 115, 192, 193, 194, 195, 291, 497, 516, 12345)
NUMBERS = table("numbers", regular=[("d", "decimal"), ("n", "varint")])


def translation(error: Exception) -> SinkError:
    """What becomes of an error; nothing of its text goes on."""
    with pytest.raises(SinkError) as caught, translated("lake at host:8123", "loading"):
        raise error
    said = str(caught.value)
    assert said.startswith("destination lake at host:8123: loading failed")
    assert CANARY not in said
    assert caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize(
    ("code", "kind"),
    [(code, RowsRefused) for code in ROWS]
    + [(code, TransientSinkError) for code in PASSING]
    + [(code, PermanentSinkError) for code in LASTING],
)
def test_every_code(code: int, kind: type[SinkError]) -> None:
    """Its kind says whether a lane tries again, looks for the rows, or stops; codes that are not named stop it."""
    tries = []

    def refused() -> None:
        tries.append(1)
        raise translation(DatabaseError(f"Code: {code}. DB::Exception: {CANARY}", code=code, name="ITS_NAME"))

    with pytest.raises(SinkError, match=rf"code {code}\b") as caught:
        Retry(attempts=3, wait=0.0, max_wait=0.0).call(refused)
    assert type(caught.value) is kind
    assert len(tries) == (3 if kind is TransientSinkError else 1)


def test_memory_that_arrow_lacked() -> None:
    """Arrow's reader says "cannot read" of it."""
    said = f"Code: 33. Out of memory: allocation failed: Code: 241. DB::Exception: {CANARY}"
    found = translation(DatabaseError(said, code=33, name="CANNOT_READ_ALL_DATA"))
    assert type(found) is TransientSinkError
    assert str(found).endswith("failed with code 241, MEMORY_LIMIT_EXCEEDED")


def caused(error: Exception, cause: Exception) -> Exception:
    """An error that another is behind."""
    error.__cause__ = cause
    return error


UNENCRYPTED = urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, CANARY))
POOL = urllib3.HTTPConnectionPool("host")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OperationalError(CANARY), TransientSinkError, "the server cannot be reached"),
        (ConnectionResetError(CANARY), TransientSinkError, "the server cannot be reached"),
        (TimeoutError(CANARY), TransientSinkError, "the server cannot be reached"),
        (http.client.IncompleteRead(CANARY.encode()), TransientSinkError, "the server cannot be reached"),
        (urllib3.exceptions.ProtocolError(CANARY), TransientSinkError, "the server cannot be reached"),
        (socket.gaierror(-2, CANARY), TransientSinkError, "the name of the server is not known"),
        (ssl.SSLEOFError(8, CANARY), TransientSinkError, "the server cannot be reached"),
        (ssl.SSLError(1, CANARY), PermanentSinkError, "no encrypted connection can be made"),
        (
            caused(OperationalError(CANARY), urllib3.exceptions.MaxRetryError(POOL, "/", UNENCRYPTED)),
            PermanentSinkError,
            "no encrypted connection can be made",
        ),
        (
            caused(OperationalError(CANARY), urllib3.exceptions.LocationParseError(CANARY)),
            PermanentSinkError,
            "the host is none that can be asked for",
        ),
        (DatabaseError(f"HTTP driver received HTTP status 502: {CANARY}"), TransientSinkError, r"\(HTTP status 502\)"),
        (DatabaseError(f"HTTP driver received HTTP status 429: {CANARY}"), TransientSinkError, r"\(HTTP status 429\)"),
        (DatabaseError(f"HTTP driver received HTTP status 404: {CANARY}"), PermanentSinkError, r"\(HTTP status 404\)"),
        (DatabaseError(CANARY), PermanentSinkError, r"\(DatabaseError\)"),
        (pa.ArrowInvalid(CANARY), PermanentSinkError, r"\(ArrowInvalid\)"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)
def test_errors_without_a_code(error: Exception, kind: type[SinkError], said: str) -> None:
    """The connection's, those of what stands before the server, and ours."""
    found = translation(error)
    assert type(found) is kind
    assert said.replace("\\", "") in str(found)


@pytest.fixture
def small(ch_database: ChDatabase) -> Iterator[Connection]:
    """A connection with 5 MB for a statement, and a table `{prefix}m.m`."""
    with closing(ch_database.client()) as client:
        client.command(f"CREATE DATABASE {ch_database.prefix}m")
        client.command(f"CREATE TABLE {ch_database.prefix}m.m (n Int64, s String) ENGINE = MergeTree ORDER BY n")
    limits = {"max_memory_usage": "5000000", "max_untracked_memory": "1"}
    with closing(Connection(address_of(ch_database), limits)) as connection:
        yield connection


@pytest.mark.parametrize("rows", [10_000, 50_000])
def test_more_rows_than_there_is_memory_for(small: Connection, ch_database: ChDatabase, rows: int) -> None:
    """They arrive in parts, each once, whichever of the two codes the server says it by."""
    data = pa.table({"n": range(rows), "s": [f"{n}".ljust(100) for n in range(rows)]})
    small.insert(f"{ch_database.prefix}m.m", data)
    with closing(ch_database.client()) as client:
        found = client.query(f"SELECT count(), uniqExact(n), min(length(s)) FROM {ch_database.prefix}m.m").result_rows
    assert found == [(rows, rows, 100)]


def test_a_row_that_there_is_no_memory_for(small: Connection, ch_database: ChDatabase) -> None:
    """Ends, as what it is."""
    data = pa.table({"n": range(600), "s": ["x" * 100_000] * 600})
    with pytest.raises(TransientSinkError, match="code 241"), translated("lake", "loading"):
        small.insert(f"{ch_database.prefix}m.m", data)


def test_numbers_at_their_bounds(ch_database: ChDatabase) -> None:
    """The greatest arrive as they are; one more is parked, and the rest of its batch loads."""
    most, whole = 2**255 - 1, 10**58 - 1
    numbers = [most, -most - 1, most + 1, -most - 2]
    decimals = [whole, -whole, whole + 1, -whole - 1]
    changes = [
        Change((int_bytes(at),), cells=(Cell("n", 5, varint_bytes(number)),), live=5)
        for at, number in enumerate(numbers)
    ] + [
        Change((int_bytes(at + 4),), cells=(Cell("d", 5, decimal_bytes(number, 0)),), live=5)
        for at, number in enumerate(decimals)
    ]
    with ClickHouseDestination("", (NUMBERS,), place=ch_database).prepare() as destination:
        letters = destination.load(batch(NUMBERS, changes))
        found = destination.query("SELECT pk, n, d FROM {p}ks.numbers ORDER BY pk")
    assert [str(letter.reason) for letter in letters] == ["VALUE_OUT_OF_RANGE"] * 4
    assert found == [(0, most, None), (1, -most - 1, None), (4, None, whole), (5, None, -whole)]
