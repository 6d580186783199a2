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
from collections.abc import Callable
from typing import Protocol

from .folder import Folder, StartFailed


class Service(Protocol):
    """A started server: the process that serves, and the port it listens on."""

    @property
    def pid(self) -> int: ...

    @property
    def port(self) -> int: ...

    def wait(self) -> None:
        """Return when the server has ended."""

    def stop(self) -> None:
        """End the server, in bounded time; harmless when it has ended."""


def _take_streams() -> int:
    """Silence stdin, stdout and stderr; the descriptor of what was stdout, for the one word to whoever started us."""
    word = os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.close(silence)
    return word


def _say(word: int, message: dict[str, object]) -> None:
    """One line to whoever started us, who may be dead already, or have been told already; then the pipe is let go."""
    with contextlib.suppress(OSError):
        os.write(word, json.dumps(message).encode() + b"\n")
        os.close(word)


def _be_the_only_one(folder: Folder) -> None:
    """Lock for life, so the file is never closed; patient, for a leaving user looks at this lock for an instant."""
    lock = os.open(folder.supervisor_lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.02)
    raise StartFailed("another supervisor serves this folder")


def _supervise(folder: Folder, start: Callable[[], Service], word: int) -> None:
    """Start, announce, and serve until the last user has gone or the server has ended."""
    _be_the_only_one(folder)
    with folder.users_lock.open("ab") as users:
        folder.ready.unlink(missing_ok=True)
        service = start()
        try:
            folder.port.write_text(str(service.port))
            folder.ready.write_text(str(service.pid))
            _say(word, {"port": service.port})

            def wait_for_the_last_user() -> None:
                fcntl.flock(users, fcntl.LOCK_EX)
                service.stop()

            threading.Thread(target=wait_for_the_last_user, daemon=True).start()
            service.wait()
        finally:
            service.stop()
            folder.ready.unlink(missing_ok=True)


def run(folder: Folder, start: Callable[[], Service]) -> None:
    """Detach from the caller, then supervise; a failure is reported, never raised into the void. Does not return."""
    if os.fork():
        os._exit(0)  # the caller waits for this one, so it never has a zombie
    word = _take_streams()
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _supervise(folder, start, word)
    except StartFailed as error:
        _say(word, {"error": str(error)})
    except Exception as error:  # nobody else is there to tell
        _say(word, {"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)  # at once: whoever waits for the lock finds no process
