"""Is a system up? Each is asked alone, with its real client, within a bound, and the answer is never an exception.

A message of a driver is not passed on: it may hold an address with a password. What it means is said instead.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TIMEOUT = 5.0
"""Seconds until a check gives up."""


@dataclass(frozen=True)
class Health:
    """One answer: `latency_ms` from the first attempt to the answer, `message` one sentence, `version` when up."""

    name: str
    kind: str
    up: bool
    version: str | None
    latency_ms: float
    message: str


_EXTENSION = """
SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'timescaledb'
"""


def check_postgres(
    conninfo: str, *, name: str = "postgres", kind: str = "postgres", timeout: float = DEFAULT_TIMEOUT
) -> Health:
    """Log in by libpq's connection string and run one query; of kind `timescaledb`, the extension has to be at hand."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        target = conninfo_to_dict(conninfo)
    except psycopg.Error:
        return Health(
            name, kind, False, None, 0.0, f"{name}: expected a connection string of libpq, found another text"
        )
    where = f"{target.get('host') or 'localhost'}:{target.get('port') or 5432}"
    expected = f"a PostgreSQL that lets {target.get('user') or 'the default user'} into {target.get('dbname') or 'it'}"

    def ask() -> str:
        with psycopg.connect(conninfo, connect_timeout=max(2, int(timeout)), autocommit=True) as connection:
            connection.execute("SELECT 1")
            version = connection.info.parameter_status("server_version") or "unknown"
            if kind != "timescaledb":
                return version
            found = connection.execute(_EXTENSION).fetchone()
            if found is None:
                raise LookupError("extension timescaledb")
            return f"{version}, TimescaleDB {found[0]}"

    return _check(ask, name=name, kind=kind, expected=f"{where}: expected {expected}", timeout=timeout)


def check_clickhouse(
    *,
    host: str = "localhost",
    port: int | None = None,
    username: str = "default",
    password: str = "",
    secure: bool = False,
    verify: bool = True,
    ca_cert: str | None = None,
    name: str = "clickhouse",
    timeout: float = DEFAULT_TIMEOUT,
) -> Health:
    """Log in over HTTP; without a port the default one of HTTP or HTTPS."""
    import clickhouse_connect

    driver = logging.getLogger("clickhouse_connect")
    if not driver.handlers:
        driver.addHandler(logging.NullHandler())  # else it writes to stderr what we say ourselves
    real_port = port or (8443 if secure else 8123)

    def ask() -> str:
        client = clickhouse_connect.get_client(
            host=host,
            port=real_port,
            username=username,
            password=password,
            secure=secure,
            verify=verify,
            ca_cert=ca_cert,
            connect_timeout=max(1, int(timeout)),
            send_receive_timeout=max(1, int(timeout)),
            autogenerate_session_id=False,
        )
        try:
            client.command("SELECT 1")
            return str(client.server_version)
        finally:
            client.close()

    expected = f"{host}:{real_port}: expected a ClickHouse over {'HTTPS' if secure else 'HTTP'} that lets {username} in"
    return _check(ask, name=name, kind="clickhouse", expected=expected, timeout=timeout)


def check_cassandra(
    contact_points: Sequence[str],
    *,
    port: int = 9042,
    username: str | None = None,
    password: str | None = None,
    name: str = "cassandra",
    timeout: float = DEFAULT_TIMEOUT,
) -> Health:
    """Open a session on any of the contact points and read the release version."""
    from cassandra.auth import PlainTextAuthProvider  # type: ignore[import-untyped]
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile  # type: ignore[import-untyped]
    from cassandra.policies import RoundRobinPolicy  # type: ignore[import-untyped]

    def ask() -> str:
        cluster = Cluster(
            list(contact_points),
            port=port,
            auth_provider=PlainTextAuthProvider(username, password) if username else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy(), request_timeout=timeout)},
            connect_timeout=timeout,
            control_connection_timeout=timeout,
        )
        try:
            row = cluster.connect().execute("SELECT release_version FROM system.local").one()
            return str(row.release_version)
        finally:
            cluster.shutdown()

    expected = f"{', '.join(contact_points)} port {port}: expected a Cassandra that speaks CQL"
    if username:
        expected += f" and lets {username} in"
    return _check(ask, name=name, kind="cassandra", expected=expected, timeout=timeout)


def check_directory(path: Path, *, name: str = "directory", timeout: float = DEFAULT_TIMEOUT) -> Health:
    """List a directory, which hangs where a network mount does."""

    def ask() -> str:
        with os.scandir(path) as entries:
            sum(1 for _ in entries)
        return ""

    return _check(ask, name=name, kind="directory", expected=f"{path}: expected a readable directory", timeout=timeout)


def _check(ask: Callable[[], str], *, name: str, kind: str, expected: str, timeout: float) -> Health:
    """Ask in a thread of its own, for not every client bounds every wait."""
    answers: list[str] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"health of {name}", daemon=True)
    began = time.monotonic()
    thread.start()
    thread.join(timeout)
    latency = round((time.monotonic() - began) * 1000, 1)
    if answers:
        return Health(name, kind, True, answers[0] or None, latency, f"{name}: up in {latency:.0f} ms")
    found = _meaning(errors[0]) if errors else f"no answer within {timeout:g} s"
    return Health(name, kind, False, None, latency, f"{name}: {expected}, found {found}")


_MEANINGS = (
    ("extension timescaledb", "a PostgreSQL without the extension timescaledb"),
    ("password authentication failed", "the password refused"),
    ("authentication failed", "the password refused"),
    ("badcredentials", "the password refused"),
    ("no password supplied", "no password given"),
    ("is not permitted to log in", "a user that may not log in"),
    ("connection refused", "the connection refused"),
    ("could not translate host name", "an unknown host"),
    ("failed to resolve host", "an unknown host"),
    ("name or service not known", "an unknown host"),
    ("unresolvablecontactpoints", "an unknown host"),
    ("does not support ssl", "a server without TLS"),
    ("too many clients", "no connection left"),
    ("starting up", "a server that is still starting"),
    ("shutting down", "a server that is shutting down"),
    ("timed out", "no answer in time"),
    ("timeout", "no answer in time"),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and what cassandra-driver gathered per host."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting and len(seen) < 20:
        one = waiting.pop(0)
        seen.append(one)
        yield one
        hosts = getattr(one, "errors", None)
        gathered = list(hosts.values()) if isinstance(hosts, dict) else []
        following = [one.__cause__, one.__context__, getattr(one, "reason", None), *gathered]
        waiting += [other for other in following if isinstance(other, BaseException) and other not in seen]


def _meaning(error: Exception) -> str:
    """What an error means, in words of ours."""
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case FileNotFoundError():
                return "none"
            case NotADirectoryError():
                return "a file"
            case PermissionError():
                return "no permission"
            case _:
                pass
    texts = [f"{type(cause).__name__} {cause}".lower() for cause in causes]
    for mark, meaning in _MEANINGS:
        if any(mark in text for text in texts):
            return meaning
    for text in texts:
        if "does not exist" in text:
            return "no such database or user"
    return f"an error of its client ({type(error).__name__})"
