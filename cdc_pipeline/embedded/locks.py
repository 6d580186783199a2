"""Locks on files between processes: released by the kernel when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO

SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX


def try_lock(file: IO[bytes], kind: int) -> bool:
    """Take the lock, or turn the one held into this kind, without waiting; False when others are in the way."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(path: Path, kind: int, deadline: float) -> IO[bytes]:
    """The open file that holds the lock until it is closed; `TimeoutError` at the deadline (`time.monotonic`)."""
    file = path.open("ab")
    while not try_lock(file, kind):
        if time.monotonic() > deadline:
            file.close()
            raise TimeoutError(path.name)
        time.sleep(0.01)
    return file


def is_locked(path: Path) -> bool:
    """Whether somebody holds the exclusive lock now."""
    with path.open("ab") as file:
        return not try_lock(file, SHARED)
