"""A shard's archive: finished segments move in, and leave when nobody needs them any more.

Moving in: place and verify the bytes, write the manifest, remove the log from `cdc_raw`, then its index. Each step is
durable before the next and may be repeated, so that after a kill at any place another sweep ends where this would have.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from cdc_pipeline.capture.manifest import Contents, Digest, Manifest, Method, manifest_path, sync_folder
from cdc_pipeline.capture.placing import Relation, Step, place, relation
from cdc_pipeline.capture.segments import SegmentState, index_path
from cdc_pipeline.change import parse_segment_name
from cdc_pipeline.errors import CdcError, ConfigurationError

_STRAY_SECONDS = 60
_REMEMBERED_SECONDS = 30 * 86400
"""How long a removed segment is known. It may come back as long as its tables' memtables were not flushed, which
`commitlog_total_space` bounds to far less."""

Describe = Callable[[Path], Contents]
"""What a segment holds; raises for one that must stay where it is."""


class Outcome(StrEnum):
    """What became of a finished segment."""

    ARCHIVED = "archived"
    RETURNED = "returned"
    """It came twice; its content was in the archive, or had been."""
    GROWN = "grown"
    """It came twice, with more than before: the archive has the longer one now."""
    KEPT = "kept"
    """It stays in `cdc_raw`, and somebody should look."""


@dataclass(frozen=True)
class Taken:
    """A segment that was looked at; `freed` are bytes of `cdc_raw`, `problem` says why it stays."""

    segment: str
    outcome: Outcome
    freed: int = 0
    problem: str | None = None


class ShardArchive:
    """The folder of one shard below `source.archive.directory`; made when first written to."""

    def __init__(self, directory: Path, step: Step = lambda _: None) -> None:
        self.directory = directory
        self._step = step

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process sweeps or prunes this archive while the block runs."""
        with self._lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            for part in self.directory.glob(".CommitLog-*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
            yield True

    def _lock(self) -> IO[str]:
        try:
            self._make(self.directory)
            return (self.directory / ".lock").open("w")
        except OSError as error:
            raise ConfigurationError(
                f"expected a directory for finished segments, found: {error.strerror}", where=str(self.directory)
            ) from None

    def _make(self, folder: Path) -> None:
        """Makes a folder durable: else a power cut could take it, with what was removed elsewhere meanwhile."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)

    # --- moving in ---------------------------------------------------------------------------------------------------

    def take(self, state: SegmentState, describe: Describe) -> Taken:
        """Moves a finished segment here. May be repeated, also after a kill. `OSError` when the disk refuses."""
        assert state.finished, state.path
        source, target = state.path, self.directory / state.path.name
        known = Manifest.beside(target)
        if known is not None and known.removed_at is not None and not target.exists():
            return self._come_back(source, known)
        outcome = Outcome.ARCHIVED
        if target.exists():
            found = relation(source, target)
            if found is Relation.DIFFERENT:
                return _kept(source, f"expected what the archive holds of it, found {found.value} content")
            if found is not Relation.GROWN and known is not None and known.removed_at is None:
                return Taken(source.name, Outcome.RETURNED, self._remove(source))
            outcome = Outcome.GROWN if found is Relation.GROWN else Outcome.ARCHIVED
        contents, method = describe(source), None
        if outcome is Outcome.GROWN:
            manifest_path(target).unlink(missing_ok=True)
            self._step("forgotten")
        if outcome is Outcome.GROWN or not target.exists():
            method = place(source, target, self._step)
        self._step("archived")
        self.describe(state, target, contents, method)
        self._step("described")
        return Taken(source.name, outcome, self._remove(source))

    def _come_back(self, source: Path, known: Manifest) -> Taken:
        digest = Digest.of(source)
        if digest.content_sha256 != known.digest.content_sha256:
            why = f"its archived form was removed, expected {known.digest.content_size} bytes of the same content"
            return _kept(source, f"{why}, found {digest.content_size} bytes of another")
        return Taken(source.name, Outcome.RETURNED, self._remove(source))

    def describe(self, state: SegmentState, target: Path, contents: Contents, method: Method | None = None) -> None:
        """Writes the manifest of the bytes at `target`."""
        if method is None:
            method = "link" if state.path.samefile(target) else "copy"
        Manifest(target.name, Digest.of(target), contents, time.time(), method, settled=state.settled).write(
            self.directory
        )

    def _remove(self, source: Path) -> int:
        """The log first: an index alone is recognised, a log alone would pass for a spare for ever."""
        freed = 0
        for path in (source, index_path(source)):
            try:
                freed += path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            self._step("removed log" if path == source else "removed index")
        return freed

    def sweep_strays(self, raw: Path) -> list[str]:
        """Removes indexes whose log was archived, left by a sweep that was killed; gives the names of their logs."""
        swept = []
        for index in sorted(raw.glob("CommitLog-*_cdc.idx")):
            log = index.with_name(index.name.removesuffix("_cdc.idx") + ".log")
            if parse_segment_name(log.name) is None or not manifest_path(self.directory / log.name).exists():
                continue
            try:
                old = time.time() - index.stat().st_mtime > _STRAY_SECONDS
                if old and not log.exists():
                    index.unlink()
                    swept.append(log.name)
            except FileNotFoundError:
                continue
        return swept

    # --- what is there -----------------------------------------------------------------------------------------------

    def manifests(self) -> list[Manifest]:
        """Of all segments by id, those that left included. `CdcError` for one that cannot be read."""
        found = []
        for path in self.directory.glob("CommitLog-*.json"):
            manifest = Manifest.beside(path.with_suffix(".log"))
            if manifest is not None:
                found.append(manifest)
        return sorted(found, key=lambda one: one.name.id)

    def verify(self, manifest: Manifest) -> str | None:
        """What is wrong with an archived segment: its bytes are read and compared with the manifest."""
        path = self.directory / manifest.segment
        try:
            digest = Digest.of(path)
        except OSError as error:
            return f"segment {manifest.segment}: expected in {self.directory}, found: {error.strerror}"
        if digest != manifest.digest:
            expected, found = manifest.digest.sha256[:16], digest.sha256[:16]
            return f"segment {manifest.segment}: expected SHA-256 {expected}…, found {found}… in {self.directory}"
        return None

    def undescribed(self) -> list[str]:
        """Segments without a manifest, left by a sweep that was killed or put here by hand."""
        return sorted(p.name for p in self.directory.glob("CommitLog-*.log") if not manifest_path(p).exists())

    # --- moving out --------------------------------------------------------------------------------------------------

    def mark_passed(self, manifest: Manifest, now: float) -> Manifest:
        """Notes that every lane has passed a segment; retention counts from the first time."""
        if manifest.passed_at is not None:
            return manifest
        manifest = dataclasses.replace(manifest, passed_at=now)
        manifest.write(self.directory)
        return manifest

    def mark_needed(self, manifest: Manifest) -> Manifest:
        """Takes the note back: a lane came up, or back, that has not passed it."""
        if manifest.passed_at is None:
            return manifest
        manifest = dataclasses.replace(manifest, passed_at=None)
        manifest.write(self.directory)
        return manifest

    def drop(self, manifest: Manifest, now: float) -> int:
        """Removes a segment; its manifest stays and says so. Returns the bytes freed. May be repeated."""
        path = self.directory / manifest.segment
        if manifest.removed_at is None:
            dataclasses.replace(manifest, removed_at=now).write(self.directory)
            self._step("noted")
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        self._step("dropped")
        return size

    def forget(self, manifest: Manifest, now: float, oldest: int | None) -> bool:
        """Removes the note of a segment that left long ago; `oldest` is the lowest id in `cdc_raw`."""
        if manifest.removed_at is None or now - manifest.removed_at < _REMEMBERED_SECONDS:
            return False
        if oldest is not None and manifest.name.id >= oldest:
            return False
        manifest_path(self.directory / manifest.segment).unlink(missing_ok=True)
        return True

    def free(self) -> int:
        """Bytes free on the archive's volume."""
        folder = self.directory
        while not folder.exists():
            folder = folder.parent
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize


def _kept(source: Path, why: str) -> Taken:
    return Taken(source.name, Outcome.KEPT, problem=str(CdcError(f"segment {source.name}: {why}; it stays")))
