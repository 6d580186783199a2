"""A fresh database of a real TimescaleDB for each test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.load.timescaledb import HypertableOptions, TimescaleSink
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.timescaledb.provider import VARIABLES, running_server


@pytest.fixture(scope="session")
def ts_server() -> Iterator[str]:
    """The server's connection string."""
    with running_server() as conninfo:
        yield conninfo


@pytest.fixture(autouse=True)
def databases_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names the server would override the database of every configured destination."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_ts_database(ts_server: str) -> Iterator[Callable[[], str]]:
    """A function that makes one more fresh database; all are dropped afterwards."""
    made: list[str] = []
    with psycopg.connect(ts_server, autocommit=True) as connection:

        def make() -> str:
            made.append(f"cdc_test_{uuid.uuid4().hex}")
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE template0".encode())
            return make_conninfo(ts_server, dbname=made[-1])

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def ts_database(make_ts_database: Callable[[], str]) -> str:
    """The connection string of a fresh, empty database."""
    return make_ts_database()


@pytest.fixture
def quiet_database(ts_database: str) -> str:
    """A fresh database whose jobs do not run by themselves: what is compressed when is the test's to say."""
    with psycopg.connect(ts_database, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION timescaledb")
        connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
    return ts_database


@pytest.fixture
def destination(quiet_database: str) -> Iterator[Callable[..., Destination]]:
    """A function that prepares tables in one fresh database; `options` are the hypertables'."""
    made: list[Destination] = []

    def prepared(*tables: Table, options: HypertableOptions | None = None, **how: Any) -> Destination:
        made.append(Destination(quiet_database, tables, make_sink=maker(options), **how))
        return made[-1].prepare()

    yield prepared
    for one in made:
        one.sink.close()


def maker(options: HypertableOptions | None = None) -> Callable[..., TimescaleSink]:
    """Makes sinks with these options."""
    return lambda *arguments: TimescaleSink(*arguments, options)


_CHUNKS = """
SELECT count(compress_chunk(c)) FROM timescaledb_information.hypertables h,
  show_chunks(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass) c WHERE compression_enabled
"""


def compress(connection: psycopg.Connection[Any]) -> int:
    """Compresses every chunk of every hypertable that may be; returns how many are compressed then."""
    connection.execute("SET client_min_messages = error")  # a chunk of three rows is larger when compressed
    connection.execute(_CHUNKS.encode())
    row = connection.execute("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed").fetchone()
    assert row is not None
    return int(row[0])


def compress_all(destination: Destination) -> int:
    """Compresses what a destination made."""
    with psycopg.connect(destination.conninfo, autocommit=True) as connection:
        return compress(connection)
