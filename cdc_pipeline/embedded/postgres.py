"""An embedded PostgreSQL: real, one per folder, shared by every process that needs it, gone with the last of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from cdc_pipeline.embedded.binaries import binaries
from cdc_pipeline.embedded.identity import can_reach, server_identity
from cdc_pipeline.embedded.locks import EXCLUSIVE, SHARED, is_locked, lock, try_lock
from cdc_pipeline.embedded.supervisor.folder import Folder, Job
from cdc_pipeline.errors import ConfigurationError, PermanentSinkError

_RUN = "import sys; sys.path.insert(0, sys.argv[1]); from supervisor.life import main; main(sys.argv[2])"


class EmbeddedPostgres:
    """One user of the server in `directory`, which is made when missing; a context manager.

    Starts the server when nobody else has, finds it when somebody has. The server ends when its last user has stopped,
    ended or been killed. `fast` gives up durability for tests and counts for whoever starts first; `timeout` (seconds)
    bounds every wait, a crash recovery included. A forked child that keeps running counts as a user.
    """

    def __init__(self, directory: Path, *, fast: bool = False, timeout: float = 60.0) -> None:
        self._folder = Folder(directory.resolve())
        self._fast = fast
        self._timeout = timeout
        self._users: IO[bytes] | None = None
        self._port = 0

    def start(self) -> Self:
        """Be a user of a running server; called again it repairs a server that was killed meanwhile.

        Raises `PermanentSinkError` naming the folder and what the server said, and `ConfigurationError` when the
        folder cannot be written or the binaries are missing.
        """
        deadline = time.monotonic() + self._timeout
        try:
            self._folder.root.mkdir(parents=True, exist_ok=True)
            self._users = self._users or lock(self._folder.users_lock, SHARED, deadline)
            with lock(self._folder.start_lock, EXCLUSIVE, deadline):
                self._port = self._find(deadline) or self._launch()
        except TimeoutError:
            self.stop()
            raise self._failed(f"expected it ready within {self._timeout:g} s, found it still starting") from None
        except OSError as error:
            self.stop()
            where = str(self._folder.root)
            raise ConfigurationError(f"expected a folder to write in, found: {error.strerror}", where=where) from None
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> bool:
        """Leave; as the last user wait until the server has ended and return True. Harmless when not started."""
        users, self._users, self._port = self._users, None, 0
        if users is None:
            return False
        with users:
            last = try_lock(users, EXCLUSIVE) or not try_lock(users, SHARED)
        deadline = time.monotonic() + self._timeout
        while last and is_locked(self._folder.supervisor_lock) and time.monotonic() < deadline:
            time.sleep(0.01)
        return last

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def conninfo(self, dbname: str = "postgres") -> str:
        """libpq's connection string of the superuser; holds the password, so it is not for printing."""
        if self._users is None:
            raise self._failed("expected start() before conninfo()")
        try:
            password = self._folder.password.read_text()
        except OSError:
            raise self._failed("expected the file password beside its data, found none that can be read") from None
        return make_conninfo(
            host="127.0.0.1", port=self._port, user="postgres", password=password, dbname=dbname, connect_timeout=10
        )

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database when missing, and return its connection string."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if known is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.conninfo(name)

    def _find(self, deadline: float) -> int | None:
        """The port of the server that runs already; None when there is none."""
        while self._folder.supervisor_lock.exists() and is_locked(self._folder.supervisor_lock):
            with contextlib.suppress(OSError, ValueError):
                if self._folder.ready.exists():
                    port = int(self._folder.port.read_text())
                    address = make_conninfo(host="127.0.0.1", port=port, connect_timeout=2)
                    if PGconn.ping(address.encode()) == Ping.OK:  # a mere TCP connection may be to a dying server
                        return port
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        return None

    def _job(self) -> Job:
        programs = binaries()
        identity = server_identity(self._folder.data)
        places = (self._folder.root, programs, programs.parent / "lib")
        reach = identity is not None and not all(can_reach(place, identity) for place in places)
        return Job(str(self._folder.root), str(programs), self._fast, self._timeout, identity, reach)

    def _launch(self) -> int:
        """Start a supervisor, wait for its word, and return the server's port."""
        command = [sys.executable, "-I", "-S", "-c", _RUN, str(Path(__file__).parent), json.dumps(vars(self._job()))]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal is for its users
        ) as process:
            assert process.stdout is not None
            said = _line(process.stdout.fileno(), time.monotonic() + 2 * self._timeout)
        if said.startswith('{"port"'):
            return int(json.loads(said)["port"])
        raise self._failed(json.loads(said)["error"] if said.startswith('{"error"') else said or "no answer in time")

    def _failed(self, what: str) -> PermanentSinkError:
        return PermanentSinkError(f"embedded PostgreSQL in {self._folder.root}: {what}")


def _line(pipe: int, deadline: float) -> str:
    """What comes from a pipe up to its end, a line feed or the deadline."""
    said = b""
    while not said.endswith(b"}\n") and (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            said += chunk
    return said.decode(errors="replace").strip()
