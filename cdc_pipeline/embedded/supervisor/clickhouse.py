"""The supervisor of a ClickHouse: chDB is a library, so engine and HTTP server are this process itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading

from .folder import Folder, StartFailed
from .front.engine import Engine
from .front.execution import Executor
from .front.http import Server
from .front.job import Job
from .front.remains import delete_dropped
from .life import run

_MOST_MEMORY = 4 << 30
_SECONDS_TO_CLOSE = 5.0
_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>268435456</mark_cache_size>
  <merge_tree>{durability}</merge_tree>
</clickhouse>
"""
_SYNC = "<fsync_after_insert>1</fsync_after_insert><fsync_part_directory>1</fsync_part_directory>"


class _Front:
    """A running front. Raises `StartFailed` when the engine or the port cannot be had."""

    def __init__(self, job: Job, folder: Folder) -> None:
        self.pid = os.getpid()
        self._ended = threading.Event()
        self._stopping = threading.Lock()
        _prepare(job, folder)
        try:
            self._engine = Engine(job.packages, folder.data)
        except RuntimeError as error:
            raise StartFailed(_reason(folder, str(error))) from None
        self._executor = Executor(self._engine, folder.root / "spool")
        self._server = self._listen(folder)
        self.port = int(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _listen(self, folder: Folder) -> Server:
        for _ in range(5):
            with contextlib.suppress(OSError):  # somebody took the port that was free just now
                return Server(folder.free_port(), self._executor, folder.keep_password())
        raise StartFailed("expected a free port on 127.0.0.1, found each of five taken at once")

    def wait(self) -> None:
        self._ended.wait()

    def stop(self) -> None:
        with self._stopping:
            if self._ended.is_set():
                return
            self._server.shutdown()
            self._server.server_close()
            closing = threading.Thread(target=self._close, daemon=True)  # a statement under way may not let go
            closing.start()
            closing.join(_SECONDS_TO_CLOSE)
            self._ended.set()

    def _close(self) -> None:
        self._executor.sessions.drop_idle(everything=True)
        self._engine.close()


def _prepare(job: Job, folder: Folder) -> None:
    """A working directory with our configuration in it, an empty spool, and the noise to the log."""
    folder.rotate_log()
    log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    shutil.rmtree(folder.root / "spool", ignore_errors=True)
    place = folder.root / "config"
    for new in (folder.data, folder.root / "spool", place):
        new.mkdir(exist_ok=True)
    delete_dropped(folder.data)
    memory = min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2, _MOST_MEMORY)
    (place / "config.xml").write_text(_CONFIG.format(memory=memory, durability="" if job.fast else _SYNC))
    os.chdir(place)  # whose config.xml is read
    os.environ.update(TZ="UTC", LC_ALL="C")


def _reason(folder: Folder, text: str) -> str:
    """Why the engine did not open: chDB says so in its log alone."""
    log = folder.log.read_text(errors="replace")
    if "Cannot lock file" in log:
        return "expected nobody else in its data, found another process that has the folder open"
    lines = [line.strip() for line in log.splitlines() if "Exception" in line]
    return " / ".join(lines[-2:]) or text


def main(argument: str) -> None:
    """Supervise the ClickHouse that `argument`, a `Job` in JSON, tells of."""
    job = Job(**json.loads(argument))
    sys.path.append(job.packages)
    folder = Folder(job.directory)
    run(folder, lambda: _Front(job, folder))
