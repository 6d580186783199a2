"""Connections for requests: a fresh one each, and one that stays for a session that has something to keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .engine import Connection, Engine, refusal

_LONGEST_SECONDS = 3600.0


class _Session:
    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.lock = threading.Lock()
        self.until = 0.0


class Sessions:
    """The sessions of an engine by name; each has a connection of its own from its first SET, USE or temporary table.

    Before that nothing could be told from a fresh connection, so none is held and no setting has to be taken back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def connection(
        self, name: str, seconds: float, *, must_exist: bool, keeps_state: bool
    ) -> Iterator[tuple[Connection, bool]]:
        """A connection for one request of a session (`name` may be empty), which lasts so many seconds after it.

        Also says whether the connection outlives the request, so that what is set for it has to be taken back.
        """
        self.drop_idle()
        if not name:
            with self._fresh() as connection:
                yield connection, False
            return
        session = self._session(name, must_exist)
        if not session.lock.acquire(blocking=False):
            raise refusal(f"Session {name} is locked by a concurrent client", 373, "SESSION_IS_LOCKED")
        try:
            if session.connection is None and keeps_state:
                session.connection = self._engine.connect()
            if session.connection is None:
                with self._fresh() as connection:
                    yield connection, False
            else:
                yield session.connection, True
        finally:
            session.until = time.monotonic() + min(seconds, _LONGEST_SECONDS)
            session.lock.release()

    def drop_idle(self, *, everything: bool = False) -> None:
        """Forget sessions that were not used for their time."""
        with self._lock:
            now = time.monotonic()
            for name, session in list(self._known.items()):
                if (everything or session.until < now) and session.lock.acquire(blocking=False):
                    del self._known[name]
                    if session.connection is not None:
                        session.connection.close()

    def _session(self, name: str, must_exist: bool) -> _Session:
        with self._lock:
            if name not in self._known:
                if must_exist:
                    raise refusal(f"Session {name} not found", 372, "SESSION_NOT_FOUND")
                self._known[name] = _Session()
                self._known[name].until = time.monotonic() + _LONGEST_SECONDS
            return self._known[name]

    @contextmanager
    def _fresh(self) -> Iterator[Connection]:
        connection = self._engine.connect()
        try:
            yield connection
        finally:
            connection.close()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def surroundings(connection: Connection, database: str, wanted: Mapping[str, str], *, kept: bool) -> Iterator[None]:
    """The database and the settings of one request; a connection that is kept has its own again afterwards."""
    before = _current(connection, wanted) if wanted and kept else {}
    home = bytes(connection.query(b"SELECT currentDatabase()").bytes()).decode().strip() if database and kept else ""
    try:
        _use(connection, database)
        _set(connection, {name: _quoted(value) for name, value in wanted.items()})
        yield
    finally:
        _set(connection, before)
        _use(connection, home)


def _use(connection: Connection, database: str) -> None:
    if database:
        connection.query(b"USE `" + database.encode().replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`")


def _set(connection: Connection, values: Mapping[str, str]) -> None:
    if values:
        pairs = ", ".join(f"{name} = {value}" for name, value in values.items())
        connection.query(f"SET {pairs}".encode())


def _current(connection: Connection, names: Mapping[str, str]) -> dict[str, str]:
    """What SET needs to give these settings the values that they have now."""
    wanted = ", ".join(_quoted(name) for name in names)
    query = f"SELECT name, hex(value) FROM system.settings WHERE changed AND name IN ({wanted})"
    rows = bytes(connection.query(query.encode()).bytes()).decode().splitlines()
    changed = {name: bytes.fromhex(value).decode() for name, value in (row.split("\t") for row in rows)}
    return {name: _quoted(changed[name]) if name in changed else "DEFAULT" for name in names}
