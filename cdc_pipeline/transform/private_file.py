"""Files for their owner only: read if nobody else may, written once with mode 0600."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cdc_pipeline.errors import ConfigurationError


def read_private(path: Path) -> str:
    """The UTF-8 text of a regular file that neither group nor others may use; else ConfigurationError."""
    problem = ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a named pipe must not hang us
        try:
            status = os.fstat(descriptor)
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode):
                problem = "expected a regular file"
            elif mode & 0o077:
                problem = f"expected mode 0600, found {mode:04o}: group or others may use it"
            else:
                with open(descriptor, encoding="utf-8", closefd=False) as file:
                    return file.read()
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = _reason(error)
    except UnicodeDecodeError:
        problem = "expected UTF-8"
    raise ConfigurationError(problem, where=str(path))  # outside of `except`, whose error holds the bytes


def write_private(path: Path, text: str) -> None:
    """Write a new file of mode 0600 and sync it; ConfigurationError if it exists or cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigurationError("exists already, and is never overwritten", where=str(path)) from None
    except OSError as error:
        raise ConfigurationError(_reason(error), where=str(path)) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask says
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a file would refuse the next try
        raise ConfigurationError(_reason(error), where=str(path)) from None


def _reason(error: OSError) -> str:
    return (error.strerror or "cannot be used").lower()
