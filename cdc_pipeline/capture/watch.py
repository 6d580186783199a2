"""Waiting until something changes in a shard's `cdc_raw`: the kernel's notifications, and polling where there are none.

A notification says only "look again". A missed one costs a second, because the directory is looked at that often
whatever happens; so a lost event, a directory made anew, or a full queue is no more than a delay.

The waiting thread itself stands in `poll(2)` on the inotify descriptor: a thread of its own for the events, as in the
larger libraries, would have to get the interpreter's lock from a decoder that is busy.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import structlog

from cdc_pipeline.capture.folder import is_remote
from cdc_pipeline.capture.shard import ShardLog

POLL_SECONDS = 0.02
"""Between two looks where there are no notifications."""

_LOOK_ANYWAY_SECONDS = 1.0
_ASKED_SECONDS = 0.1

log = structlog.get_logger()


class _Waiter(Protocol):
    """What ends a wait early."""

    def wait(self, seconds: float) -> bool:
        """Up to so many seconds; whether something changed since the last time it said so."""
        ...


class Changes:
    """Waits for changes; `notified` says whether the kernel tells of them. Not for several threads."""

    def __init__(self, seconds: float, waiter: _Waiter | None = None) -> None:
        self.notified = waiter is not None
        self._seconds = seconds
        self._waiter = waiter or _Clock()

    def wait(self, asked: threading.Event | None = None, timeout: float | None = None) -> None:
        """Returns when something changed since the last return, when it is time for a look anyway, or when asked.

        What changes while the caller looks ends the next wait at once.
        """
        ends = time.monotonic() + min(self._seconds, timeout if timeout is not None else self._seconds)
        while not (asked is not None and asked.is_set()):
            left = ends - time.monotonic()
            if left <= 0 or self._waiter.wait(min(left, _ASKED_SECONDS)):
                break


class _Clock:
    """Nobody tells."""

    def wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return False


class _Inotify:
    """Linux's notifications about the files of some directories; `OSError` when the kernel gives none."""

    def __init__(self, directories: Sequence[Path]) -> None:
        from inotify_simple import INotify, flags

        self._gone = flags.IGNORED
        self._mask = flags.CREATE | flags.MODIFY | flags.MOVED_TO  # no reads: our own would wake us
        self._notify = INotify()
        self._watched: dict[int, Path] = {}
        self._lost: list[Path] = []
        try:
            for directory in directories:
                self._watch(directory)
        except BaseException:
            self.close()
            raise

    def wait(self, seconds: float) -> bool:
        self._watch_again()
        events = self._notify.read(timeout=max(1, round(seconds * 1000)))
        for event in events:
            if event.mask & self._gone and event.wd in self._watched:
                self._lost.append(self._watched.pop(event.wd))
        return bool(events)

    def close(self) -> None:
        self._notify.close()

    def _watch(self, directory: Path) -> None:
        self._watched[self._notify.add_watch(directory, self._mask)] = directory

    def _watch_again(self) -> None:
        """A directory that was removed and made anew has to be watched anew."""
        for directory in list(self._lost):
            try:
                self._watch(directory)
            except OSError:
                continue
            self._lost.remove(directory)


@contextmanager
def watching(*sources: ShardLog) -> Iterator[Changes]:
    """Watches the `cdc_raw` of shards; polls when one asks for it, on a network file system, and where the kernel gives
    no watch."""
    directories = [one.directory for one in sources]
    polled = [one.poll_seconds for one in sources if one.poll_seconds is not None]
    if polled or sys.platform != "linux" or any(map(is_remote, directories)):
        yield Changes(min(polled, default=POLL_SECONDS))
        return
    try:
        waiter = _Inotify(directories)
    except OSError as error:
        log.warning("no notifications of the file system: polling", reason=error.strerror)
        yield Changes(POLL_SECONDS)
        return
    try:
        yield Changes(_LOOK_ANYWAY_SECONDS, waiter)
    finally:
        waiter.close()
