"""What a server makes of binary fields, and a database for one example after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline_tests.load.postgres.merging import PostgresGround

Stored = Callable[[str, Sequence[bytes | None]], list[str | None]]


@pytest.fixture(scope="session")
def connection(pg_server: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """One connection for looking at values."""
    with psycopg.connect(pg_server.create_database("values"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def stored(connection: psycopg.Connection[Any]) -> Stored:
    """A function that sends fields of an SQL type by binary COPY and gives back the server's texts of them."""
    return lambda sql, fields: copied(connection, sql, fields)


def copied(connection: psycopg.Connection[Any], sql: str, fields: Sequence[bytes | None]) -> list[str | None]:
    """The texts of fields, in their order."""
    with connection.transaction():
        connection.execute(f"CREATE TEMPORARY TABLE sent (at serial, v {sql}) ON COMMIT DROP".encode())
        with connection.cursor() as cursor, cursor.copy("COPY sent (v) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER)
            for field in fields:
                size = -1 if field is None else len(field)
                copy.write(b"\x00\x01" + size.to_bytes(4, "big", signed=True) + (field or b""))
            copy.write(TRAILER)
        return [text for (text,) in connection.execute("SELECT v::text FROM sent ORDER BY at").fetchall()]


@pytest.fixture
def new_database(make_pg_database: Callable[[], str]) -> Callable[[], str]:
    """A function that empties one database of everything, for one example after the other."""
    conninfo = make_pg_database()

    def empty() -> str:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS cdc, ks CASCADE")
        return conninfo

    return empty


@pytest.fixture
def ground(new_database: Callable[[], str]) -> PostgresGround:
    """Where one example after the other is loaded."""
    return PostgresGround(new_database)
