"""The supervisor of a PostgreSQL: a server of its own process, which dies with this one."""

from __future__ import annotations

import json
import subprocess

from .folder import Folder, Job
from .life import run
from .programs import create
from .server import clear_remains, start, stop


class _Postgres:
    """A running `postgres` as the life of a supervisor sees it."""

    def __init__(self, server: subprocess.Popen[bytes], port: int) -> None:
        self._server = server
        self.pid = server.pid
        self.port = port

    def wait(self) -> None:
        self._server.wait()

    def stop(self) -> None:
        if self._server.poll() is None:
            stop(self._server)


def _start(job: Job, folder: Folder) -> _Postgres:
    if not folder.data.exists():
        create(job, folder)
    clear_remains(folder)
    folder.rotate_log()
    return _Postgres(*start(job, folder))


def main(argument: str) -> None:
    """Supervise the PostgreSQL that `argument`, a `Job` in JSON, tells of."""
    fields = json.loads(argument)
    fields["identity"] = tuple(fields["identity"]) if fields["identity"] else None
    job = Job(**fields)
    folder = Folder(job.directory)
    run(folder, lambda: _start(job, folder))
