"""Fixtures shared by all tests: a real PostgreSQL per worker, a fresh database per test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline_tests.load.timescaledb.provider import header


def pytest_report_header() -> str:
    """Says whether the tests on a real TimescaleDB are among these."""
    return header()


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
