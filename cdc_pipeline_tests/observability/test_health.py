"""Each system is asked alone; down or up, the answer is one sentence without a secret."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.observability.health import (
    Health,
    check_cassandra,
    check_clickhouse,
    check_directory,
    check_postgres,
)

SECRET = "a-secret-nobody-prints"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is bound by us and refuses, for nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(16)
        yield held.getsockname()[1]


def postgres(port: int) -> Health:
    return check_postgres(f"host=127.0.0.1 port={port} user=u dbname=d password={SECRET}", timeout=1)


def clickhouse(port: int) -> Health:
    return check_clickhouse(host="127.0.0.1", port=port, username="u", password=SECRET, timeout=1)


def cassandra(port: int) -> Health:
    return check_cassandra(["127.0.0.1"], port=port, username="u", password=SECRET, timeout=1)


every_system = pytest.mark.parametrize("check", [postgres, clickhouse, cassandra])


@every_system
def test_a_closed_port_is_down_in_one_sentence(check: Callable[[int], Health], closed_port: int) -> None:
    """Host, port, what was expected and what was found, and not the password."""
    health = check(closed_port)
    assert not health.up
    assert health.version is None
    assert "127.0.0.1" in health.message
    assert str(closed_port) in health.message
    assert health.message.endswith("found the connection refused")
    assert SECRET not in repr(health)
    assert "\n" not in health.message


@every_system
def test_a_silent_port_is_down_within_the_timeout(check: Callable[[int], Health], silent_port: int) -> None:
    """A server that accepts and says nothing costs the timeout and no more."""
    health = check(silent_port)
    assert not health.up
    assert health.latency_ms < 3000
    assert "no answer" in health.message


def test_postgres_up(pg_database: str) -> None:
    """A real server: version, latency, one sentence."""
    health = check_postgres(pg_database, name="warehouse")
    assert health.up
    assert health.version is not None
    assert health.version.startswith("18")
    assert health.latency_ms > 0
    assert health.message.startswith("warehouse: up in ")


def test_postgres_with_a_wrong_password(pg_database: str) -> None:
    """The password is refused, and neither it nor the right one is told."""
    health = check_postgres(make_conninfo(pg_database, password=SECRET))
    assert not health.up
    assert health.message.endswith("found the password refused")
    assert SECRET not in repr(health)


def test_postgres_without_the_database(pg_database: str) -> None:
    """A database that is not there is told apart from a server that is down."""
    health = check_postgres(make_conninfo(pg_database, dbname="elsewhere"))
    assert health.message.endswith("into elsewhere, found no such database or user")


def test_a_connection_string_that_cannot_be_read_is_not_repeated() -> None:
    """libpq's own message would quote a piece of it."""
    health = check_postgres(f"host=127.0.0.1 {SECRET}")
    assert not health.up
    assert SECRET not in repr(health)


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (lambda host: check_postgres(f"host={host} user=u dbname=d"), "postgres"),
        (lambda host: check_clickhouse(host=host), "clickhouse"),
        (lambda host: check_cassandra([host]), "cassandra"),
    ],
)
def test_an_unknown_host_is_named(check: Callable[[str], Health], name: str) -> None:
    """A name without an address is told apart from a server that refuses."""
    health = check("nowhere.invalid")
    assert health.name == name
    assert health.message.endswith("found an unknown host")
    assert "nowhere.invalid" in health.message


def test_directories(tmp_path: Path) -> None:
    """There and readable, missing, or something else."""
    file = tmp_path / "file"
    file.write_text("")
    assert check_directory(tmp_path).up
    assert check_directory(tmp_path / "no").message.endswith("expected a readable directory, found none")
    assert check_directory(file).message.endswith("found a file")


def test_a_server_without_timescaledb(pg_database: str) -> None:
    """PostgreSQL is up for itself, and no TimescaleDB."""
    assert check_postgres(pg_database).up
    health = check_postgres(pg_database, kind="timescaledb")
    assert not health.up
    assert health.message.endswith("found a PostgreSQL without the extension timescaledb")
