"""What to start, and the names inside the folder of one server."""

from __future__ import annotations

import re
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


def tail(log: Path) -> str:
    """Why a start failed: the last lines of this attempt, in which nobody could run a statement yet."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    grave = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return " / ".join(_STAMP.sub("", line) for line in (grave or lines)[-3:]) or "nothing in its log"
