"""What to start, and the names inside the folder of one server."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_STAMP = re.compile(r"^[-\d]+ [:.\d]+ UTC \[\d+\] ")


class StartFailed(Exception):
    """The server could not be made or started; the message is for people."""


@dataclass(frozen=True)
class Job:
    """What to start. `identity` is the (uid, gid) the server runs as, None for the caller's own; `reach` keeps
    CAP_DAC_OVERRIDE for it, for a folder below a parent that it could not pass; `timeout` in seconds."""

    directory: str
    binaries: str
    fast: bool
    timeout: float
    identity: tuple[int, int] | None
    reach: bool


class Folder:
    """The names inside the folder of one server."""

    def __init__(self, directory: str | Path) -> None:
        self.root = Path(directory)
        self.data = self.root / "data"
        self.unfinished = self.root / "data.new"
        self.password = self.root / "password"
        self.port = self.root / "port"
        self.ready = self.root / "ready"
        self.log = self.root / "server.log"
        self.start_lock = self.root / "start.lock"
        self.users_lock = self.root / "users.lock"
        self.supervisor_lock = self.root / "supervisor.lock"

    def rotate_log(self) -> None:
        """Keep the log of the last time beside the one to come."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def keep_password(self) -> str:
        """The password of this server, made at its first start."""
        if not self.password.exists():
            write_private(self.password, secrets.token_urlsafe(24))
        return self.password.read_text()

    def free_port(self) -> int:
        """The port of the last time while nobody has it, so that addresses stay; else any free one."""
        wanted = self.port.read_text() if self.port.exists() else ""
        for port in (int(wanted) if wanted.isdigit() else 0, 0):
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
        raise StartFailed("expected a free port on 127.0.0.1, found none")


def write_private(path: Path, text: str) -> None:
    """A file that nobody but its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def tail(log: Path) -> str:
    """Why a start failed: the last lines of this attempt, in which nobody could run a statement yet."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    grave = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return " / ".join(_STAMP.sub("", line) for line in (grave or lines)[-3:]) or "nothing in its log"
