"""Waiting until something changes in a shard's `cdc_raw`: the kernel's notifications, and polling where there are none.

A notification says only "look again". A missed one costs a second, because the directory is looked at that often
whatever happens; so a lost event, a directory made anew, or a full queue is no more than a delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from watchdog.events import FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from cdc_pipeline.capture.shard import ShardLog

POLL_SECONDS = 0.02
"""Between two looks where there are no notifications."""

_LOOK_ANYWAY_SECONDS = 1.0
_ASKED_SECONDS = 0.1
_REMOTE = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "ceph", "glusterfs", "lustre", "gpfs", "afs", "vboxsf")
_MOUNTS = Path("/proc/self/mountinfo")

log = structlog.get_logger()


class Changes(FileSystemEventHandler):
    """Waits for changes; `seconds` is the longest time between two looks, `notified` whether the kernel tells."""

    def __init__(self, seconds: float, *, notified: bool) -> None:
        self.notified = notified
        self._seconds = seconds
        self._happened = threading.Event()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread."""
        self._happened.set()

    def wait(self, asked: threading.Event | None = None, timeout: float | None = None) -> None:
        """Returns when something changed since the last return, when it is time for a look anyway, or when asked.

        The mark is taken back before the caller looks, so what changes during the look wakes the next wait.
        """
        ends = time.monotonic() + min(self._seconds, timeout if timeout is not None else self._seconds)
        while not (asked is not None and asked.is_set()):
            left = ends - time.monotonic()
            if left <= 0 or self._happened.wait(min(left, _ASKED_SECONDS)):
                break
        self._happened.clear()


@contextmanager
def watching(*sources: ShardLog) -> Iterator[Changes]:
    """Watches the `cdc_raw` of shards; polls when one asks for it, on a network file system, and where the kernel gives
    no watch."""
    polled = [one.poll_seconds for one in sources if one.poll_seconds is not None]
    if polled or any(is_remote(one.directory) for one in sources):
        yield Changes(min(polled, default=POLL_SECONDS), notified=False)
        return
    changes = Changes(_LOOK_ANYWAY_SECONDS, notified=True)
    observer = Observer()
    wanted: list[type[FileSystemEvent]] = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent]
    try:
        for one in sources:
            observer.schedule(changes, str(one.directory), event_filter=wanted)  # without reads: ours would wake us
        observer.start()
    except OSError as error:
        observer.unschedule_all()  # those that had started
        log.warning("no notifications of the file system: polling", reason=error.strerror)
        yield Changes(POLL_SECONDS, notified=False)
        return
    try:
        yield changes
    finally:
        observer.stop()
        observer.join()


def is_remote(directory: Path) -> bool:
    """Whether a directory lies on a file system where another machine's writes give no notification here."""
    try:
        lines = _MOUNTS.read_text().splitlines()
        path = directory.resolve()
    except OSError:
        return False
    kind, longest = "", -1
    for line in lines:
        fields, _, rest = line.partition(" - ")
        mounted = Path(fields.split(" ")[4].encode().decode("unicode_escape"))
        if path.is_relative_to(mounted) and len(mounted.parts) >= longest:
            kind, longest = rest.split(" ")[0], len(mounted.parts)
    return kind.startswith(_REMOTE)
