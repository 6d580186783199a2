"""What the server must have: the extension, in a version that merges into compressed chunks."""

from __future__ import annotations

from typing import Any

import psycopg

from cdc_pipeline.errors import ConfigurationError

OLDEST = (2, 18)
"""The oldest version that is accepted."""

_LOCK = 7_230_121_020_613
_INSTALLED = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
_AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"

Connection = psycopg.Connection[Any]


def check_available(connection: Connection, where: str) -> None:
    """`ConfigurationError` on a server without the extension, or with one that is too old; writes nothing."""
    version = _version(connection)
    if version is not None:
        _check_version(version, where)
    elif connection.execute(_AVAILABLE).fetchone() is None:
        server = connection.info.server_version // 10000
        raise ConfigurationError(
            f"expected a server with the extension timescaledb, found PostgreSQL {server} without it: "
            "install it there, or use kind: postgres",
            where=where,
        )


def install(connection: Connection, where: str) -> None:
    """Creates the extension in the database where it is not yet; several may start at once."""
    if _version(connection) is None:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except (
            psycopg.OperationalError,
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ):
            raise ConfigurationError(
                "expected the extension timescaledb in the database, found the server refuse to create it: an "
                "administrator runs CREATE EXTENSION timescaledb, with timescaledb in shared_preload_libraries",
                where=where,
            ) from None
        finally:
            if not connection.closed:
                connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    version = _version(connection)
    assert version is not None
    _check_version(version, where)


def _version(connection: Connection) -> str | None:
    row = connection.execute(_INSTALLED).fetchone()
    return None if row is None else str(row[0])


def _check_version(version: str, where: str) -> None:
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    if numbers < OLDEST:
        raise ConfigurationError(
            f"expected TimescaleDB {'.'.join(map(str, OLDEST))} or later, found {version}", where=where
        )
