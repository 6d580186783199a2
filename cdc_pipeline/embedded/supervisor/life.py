"""The life of a supervisor: detach, start, announce, and stop when the last user has gone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time

from .folder import Folder, Job, StartFailed
from .programs import create
from .server import clear_remains, start, stop


def _say(message: dict[str, object]) -> None:
    """One line to whoever started us, who may be dead already; then nothing more, and its pipe is let go."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.close(silence)


def _be_the_only_one(folder: Folder) -> None:
    """Lock for life, so the file is never closed; patient, for a leaving user looks at this lock for an instant."""
    lock = os.open(folder.supervisor_lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.02)
    raise StartFailed("another supervisor serves this folder")


def supervise(job: Job) -> None:
    """Start, announce, and serve until the last user has gone or the server has ended."""
    folder = Folder(job.directory)
    _be_the_only_one(folder)
    with folder.users_lock.open("ab") as users:
        folder.ready.unlink(missing_ok=True)
        if not folder.data.exists():
            create(job, folder)
        clear_remains(folder)
        if folder.log.exists():
            folder.log.replace(folder.log.with_suffix(".log.1"))
        server, port = start(job, folder)
        try:
            folder.port.write_text(str(port))
            folder.ready.write_text(str(server.pid))
            _say({"port": port})

            def wait_for_the_last_user() -> None:
                fcntl.flock(users, fcntl.LOCK_EX)
                stop(server)

            threading.Thread(target=wait_for_the_last_user, daemon=True).start()
            server.wait()
        finally:
            if server.poll() is None:
                stop(server)
            folder.ready.unlink(missing_ok=True)


def main(argument: str) -> None:
    """Detach from the caller, then supervise; a failure is reported, never raised into the void."""
    fields = json.loads(argument)
    fields["identity"] = tuple(fields["identity"]) if fields["identity"] else None
    if os.fork():
        os._exit(0)  # the caller waits for this one, so it never has a zombie
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        supervise(Job(**fields))
    except StartFailed as error:
        _say({"error": str(error)})
    except Exception as error:  # nobody else is there to tell
        _say({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)  # at once: whoever waits for the lock finds no process
