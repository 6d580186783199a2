"""Fixtures shared by all tests: a real PostgreSQL and a ClickHouse per worker, fresh databases per test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import settings

from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline_tests import clickhouse
from cdc_pipeline_tests.clickhouse import ChDatabase, ChServer
from cdc_pipeline_tests.load.timescaledb.provider import header

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("exploring", deadline=None, derandomize=False)
settings.load_profile("repeatable")
"""`make test` draws the same examples each time: what fails has to do with what changed. `make test-long` and the
fuzzers explore. A busy machine is no failure."""


def pytest_report_header() -> list[str]:
    """Says whether the tests on a real TimescaleDB are among these, and which ClickHouse is behind the others."""
    return [header(), clickhouse.header()]


@pytest.fixture(autouse=True)
def logs_as_found() -> Iterator[None]:
    """A command that ran here logs to the stderr of its test, which is closed when that ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def pg_server() -> Iterator[EmbeddedPostgres]:
    """One fast embedded server for this worker, its folder removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="cdc-tests-postgres-"))
    try:
        with EmbeddedPostgres(directory, fast=True) as server:
            yield server
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def make_pg_database(pg_server: EmbeddedPostgres) -> Iterator[Callable[[], str]]:
    """A function that makes one more fresh database and gives its connection string; all are dropped afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        return pg_server.create_database(made[-1])

    yield make
    with psycopg.connect(pg_server.start().conninfo(), autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def pg_database(make_pg_database: Callable[[], str]) -> str:
    """The connection string of a fresh, empty database."""
    return make_pg_database()


@pytest.fixture(scope="session")
def ch_server() -> Iterator[ChServer]:
    """One ClickHouse for this worker: embedded, in a container, or the one that the environment names."""
    with clickhouse.running_server() as server:
        yield server


@pytest.fixture
def make_ch_database(ch_server: ChServer) -> Iterator[Callable[[], ChDatabase]]:
    """A function that gives one more place of its own: a prefix of database names; all such are dropped afterwards."""
    made: list[ChDatabase] = []

    def make() -> ChDatabase:
        made.append(ch_server.place())
        return made[-1]

    yield make
    for place in made:
        place.drop()


@pytest.fixture
def ch_database(make_ch_database: Callable[[], ChDatabase]) -> ChDatabase:
    """One place of its own on the ClickHouse of this worker."""
    return make_ch_database()
