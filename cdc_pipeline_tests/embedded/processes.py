"""Other processes as users of an embedded server, and what is left of a server afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_POSTGRES = """
import os, sys
from pathlib import Path
from cdc_pipeline.embedded.identity import server_identity
from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.embedded.supervisor.privileges import become
if "ordinary" in sys.argv[2:] and os.geteuid() == 0:
    become(*server_identity(Path(sys.argv[1])), reach=True)
server = EmbeddedPostgres(Path(sys.argv[1]), fast=True).start()
print(server.conninfo(), flush=True)
sys.stdin.read()
"""


_CLICKHOUSE = """
import sys
from pathlib import Path
from cdc_pipeline.embedded.clickhouse import EmbeddedClickHouse
server = EmbeddedClickHouse(Path(sys.argv[1]), fast=True).start()
print(server.url(), flush=True)
sys.stdin.read()
"""


class UserProcess:
    """A process that uses the server of a folder until it is told to end or killed."""

    SCRIPT = _POSTGRES

    def __init__(self, directory: Path, *words: str) -> None:
        command = [sys.executable, "-c", self.SCRIPT, str(directory), *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def conninfo(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=30)


class ClickHouseUser(UserProcess):
    """One that uses a ClickHouse."""

    SCRIPT = _CLICKHOUSE

    def url(self) -> str:
        return self.conninfo()


def processes_of(directory: Path) -> list[int]:
    """The living processes that serve this folder: its supervisor, its server and the server's children."""
    place = os.fsencode(directory)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        command, where = b"", b""
        with contextlib.suppress(OSError):  # ended meanwhile
            command = (entry / "cmdline").read_bytes()
        with contextlib.suppress(OSError):  # or of another user, whom only a mighty root may look at
            where = os.fsencode(os.readlink(entry / "cwd"))
        if where.startswith(place) or (place in command and (b"bin/postgres" in command or b"supervisor" in command)):
            found.append(int(entry.name))
    return found


def command_of(pid: int) -> str:
    """The program and arguments of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def eventually(claim: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether a claim comes true in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
