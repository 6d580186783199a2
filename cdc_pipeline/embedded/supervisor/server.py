"""One `postgres`: cleared of what a killed one left, started, awaited, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from .folder import Folder, Job, StartFailed, tail
from .programs import spawn

_SOCKET_PATH_MAX = 103  # sun_path without its final NUL: 107 on Linux, 103 on macOS

_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
_QUIET = ("log_error_verbosity=terse", "log_min_error_statement=panic")  # details and statements may hold values
_ANOTHER_TRY = ("still in use", "could not bind", "could not create any TCP/IP sockets")


def _postmaster(folder: Folder) -> list[str]:
    try:
        return (folder.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_server(pid: int, folder: Folder) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        listing = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        command = listing.stdout
    return os.fsencode(folder.data) in command


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def clear_remains(folder: Folder) -> None:
    """End a server whose supervisor was killed; drop a pid file whose number now belongs to another program."""
    lines = _postmaster(folder)
    pid = int(lines[0]) if lines and lines[0].isdigit() else 0
    if not pid or not _alive(pid):
        return
    if not _is_server(pid, folder):
        (folder.data / "postmaster.pid").unlink(missing_ok=True)
        return
    for number, seconds in ((signal.SIGINT, 20.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _alive(pid):
                return
            time.sleep(0.02)


def _settings(job: Job, folder: Folder, port: int) -> list[str]:
    socket_path = folder.data / f".s.PGSQL.{port}"
    sockets = str(folder.data) if len(os.fsencode(socket_path)) <= _SOCKET_PATH_MAX else ""
    settings = ["listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={sockets}", "timezone=UTC"]
    settings += [*_QUIET, "log_timezone=UTC", *(_FAST if job.fast else ())]
    return [part for setting in settings for part in ("-c", setting)]


def _ready(server: subprocess.Popen[bytes], folder: Folder, deadline: float) -> bool:
    """Wait for line 8 of `postmaster.pid`; False when the server ended before."""
    while time.monotonic() < deadline:
        if server.poll() is not None:
            return False
        lines = _postmaster(folder)
        if len(lines) > 7 and lines[7].strip() == "ready" and lines[0] == str(server.pid):
            return True
        time.sleep(0.01)
    stop(server)
    raise StartFailed(f"the server was not ready in time: {tail(folder.log)}")


def start(job: Job, folder: Folder) -> tuple[subprocess.Popen[bytes], int]:
    """The running server and its port; tries again while the remains of a killed one still hold memory or port."""
    deadline = time.monotonic() + job.timeout
    while True:
        port = folder.free_port()
        server = spawn(job, "postgres", ["-D", str(folder.data), *_settings(job, folder, port)], folder.log)
        if _ready(server, folder, deadline):
            return server, port
        reason = tail(folder.log)
        if time.monotonic() > deadline or not any(mark in reason for mark in _ANOTHER_TRY):
            raise StartFailed(f"the server ended at once: {reason}")
        time.sleep(0.1)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; harder when it takes longer than half a minute, for the log recovers what was committed."""
    for number, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return
