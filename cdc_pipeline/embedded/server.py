"""What every embedded engine shares: one server per folder, used by many processes, gone with the last of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from cdc_pipeline.embedded.locks import EXCLUSIVE, SHARED, is_locked, lock, try_lock
from cdc_pipeline.embedded.supervisor.folder import Folder
from cdc_pipeline.errors import ConfigurationError, PermanentSinkError

_RUN = "import sys; sys.path.insert(0, sys.argv[1]); from supervisor.{} import main; main(sys.argv[2])"


class EmbeddedServer(ABC):
    """One user of the server in `directory`, which is made when missing; a context manager.

    Starts the server when nobody else has, finds it when somebody has. The server ends when its last user has stopped,
    ended or been killed. `fast` gives up durability for tests and counts for whoever starts first; `timeout` (seconds)
    bounds every wait, a crash recovery included. A forked child that keeps running counts as a user.
    """

    TITLE: ClassVar[str]
    SUPERVISOR: ClassVar[str]

    def __init__(self, directory: Path, *, fast: bool = False, timeout: float = 60.0) -> None:
        self._folder = Folder(directory.resolve())
        self._fast = fast
        self._timeout = timeout
        self._users: IO[bytes] | None = None
        self._port = 0

    def start(self) -> Self:
        """Be a user of a running server; called again it repairs a server that was killed meanwhile.

        Raises `PermanentSinkError` naming the folder and what the server said, and `ConfigurationError` when the
        folder cannot be written or the engine's package is missing.
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

    @abstractmethod
    def _answers(self, port: int) -> bool:
        """Whether the server itself answers there, which is more than a TCP connection: it may be dying."""

    @abstractmethod
    def _job(self) -> dict[str, Any]:
        """What the supervisor is to start, for JSON."""

    def _address(self, asked: str) -> tuple[int, str]:
        """The port and the password; `asked` is the name of what was called, for the message before a start."""
        if self._users is None:
            raise self._failed(f"expected start() before {asked}()")
        try:
            return self._port, self._folder.password.read_text()
        except OSError:
            raise self._failed("expected the file password beside its data, found none that can be read") from None

    def _find(self, deadline: float) -> int | None:
        """The port of the server that runs already; None when there is none."""
        while self._folder.supervisor_lock.exists() and is_locked(self._folder.supervisor_lock):
            with contextlib.suppress(OSError, ValueError):
                if self._folder.ready.exists():
                    port = int(self._folder.port.read_text())
                    if self._answers(port):
                        return port
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)
        return None

    def _launch(self) -> int:
        """Start a supervisor, wait for its word, and return the server's port."""
        run = _RUN.format(self.SUPERVISOR)
        command = [sys.executable, "-I", "-S", "-c", run, str(Path(__file__).parent), json.dumps(self._job())]
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
        return PermanentSinkError(f"embedded {self.TITLE} in {self._folder.root}: {what}")


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
