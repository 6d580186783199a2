"""Keeps a shard's archive: moves finished segments in, and out again when every lane has passed them long enough ago.

`capture/archive.py` moves the bytes; here stands what only decoding and the lanes' offsets can tell.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
import structlog

from cdc_pipeline.capture import SegmentState, ShardLog
from cdc_pipeline.capture.archive import Outcome, ShardArchive, Taken
from cdc_pipeline.capture.manifest import Contents, Manifest
from cdc_pipeline.capture.segments import archived_segment
from cdc_pipeline.change import START, Position, parse_segment_name
from cdc_pipeline.decode import Decoder, KeyProvider, SegmentFile
from cdc_pipeline.errors import CdcError, HeaderError, UnsupportedVersion
from cdc_pipeline.offsets import Lane
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema

_SETTLED_SECONDS = 60
"""A segment that counts as finished although its index does not say so is moved when the index is as old as this."""

log = structlog.get_logger()


@dataclass(frozen=True)
class LaneView:
    """Where a lane stands: its position (`START`: it never loaded), and the segments that it has read."""

    lane: Lane
    position: Position = START
    read: frozenset[str] = frozenset()

    def has_passed(self, manifest: Manifest) -> bool:
        """Whether it has read all of a segment: one that turned up below its offset counts when it was backfilled."""
        if manifest.segment not in self.read:
            return False
        return self.position >= Position(manifest.segment, manifest.last_position)


@dataclass
class Swept:
    """What a sweep did; `problems` are sentences, `more` says that time was up first, `busy` that another sweeps."""

    taken: list[Taken] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    more: bool = False
    busy: bool = False

    @property
    def freed(self) -> int:
        """Bytes of `cdc_raw`."""
        return sum(taken.freed for taken in self.taken)

    def count(self, outcome: Outcome) -> int:
        """Segments with an outcome."""
        return sum(taken.outcome is outcome for taken in self.taken)


@dataclass
class Pruned:
    """What a prune did: segments removed, bytes freed, and those that a lane holds back, by lane."""

    removed: list[str] = field(default_factory=list)
    freed: int = 0
    held: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    forgotten: int = 0
    busy: bool = False


class Archivist:
    """One shard's. `tables` of all keyspaces are counted, whatever the configuration loads."""

    def __init__(self, source: ShardLog, archive: ShardArchive, schema: Schema, keys: KeyProvider | None) -> None:
        self.source = source
        self.archive = archive
        self._schema = schema
        self._keys = keys

    def sweep(self, seconds: float = float("inf")) -> Swept:
        """Moves what is finished, the oldest first, for up to so many seconds. May be repeated, and killed."""
        swept = Swept()
        ends = time.monotonic() + seconds
        with self.archive.alone() as alone:
            if not alone:
                return Swept(busy=True)
            for name in self.archive.undescribed():
                self._describe(name)
            for state in self._in_raw():
                if state.finished and not self._is_fresh(state):
                    self._take(state, swept)
                if time.monotonic() >= ends:
                    swept.more = True
                    break
            self.archive.sweep_strays(self.source.directory)
        return swept

    def prune(self, lanes: Sequence[LaneView], retention: float, now: float | None = None) -> Pruned:
        """Removes what every lane passed at least `retention` seconds ago; what is damaged stays."""
        now = time.time() if now is None else now
        pruned = Pruned()
        with self.archive.alone() as alone:
            if not alone:
                return Pruned(busy=True)
            oldest = self.source.oldest()
            manifests = self.archive.manifests()
            last_removed = max((one.name.id for one in manifests if one.removed_at is not None), default=-1)
            for manifest in manifests:
                self._prune(manifest, lanes, retention, now, pruned)
                if manifest.name.id != last_removed:  # which tells a lane that comes back from long ago of its gap
                    pruned.forgotten += self.archive.forget(manifest, now, oldest)
        return pruned

    def _prune(
        self, manifest: Manifest, lanes: Sequence[LaneView], retention: float, now: float, pruned: Pruned
    ) -> None:
        if manifest.removed_at is not None:
            pruned.freed += self.archive.drop(manifest, now)
            return
        holding = [str(view.lane) for view in lanes if not view.has_passed(manifest)]
        if holding or not lanes:
            pruned.held.update(holding)
            self.archive.mark_needed(manifest)
            return
        manifest = self.archive.mark_passed(manifest, now)
        if manifest.passed_at is None or now - manifest.passed_at < retention:
            return
        if manifest.contents.damage:
            pruned.damaged.append(manifest.segment)
            return
        pruned.freed += self.archive.drop(manifest, now)
        pruned.removed.append(manifest.segment)

    def _in_raw(self) -> list[SegmentState]:
        """What lies in `cdc_raw`, also what the archive has too: a sweep was killed, or a node replayed it."""
        return dataclasses.replace(self.source, archive=None).segments()

    def _describe(self, name: str) -> None:
        """Writes the manifest of a segment that somebody put into the archive."""
        path = self.archive.directory / name
        if not (self.source.directory / name).exists():
            parsed = parse_segment_name(name)
            state = archived_segment(path, parsed, None) if parsed is not None else None
            if state is not None:
                self.archive.describe(state, path, self.contents(path))

    def _is_fresh(self, state: SegmentState) -> bool:
        """Whether Cassandra may yet finish a segment that counts as finished for reading."""
        try:
            return state.settled and time.time() - state.index.stat().st_mtime <= _SETTLED_SECONDS
        except FileNotFoundError:
            return False

    def _take(self, state: SegmentState, swept: Swept) -> None:
        try:
            taken = self.archive.take(state, self.contents)
        except FileNotFoundError:
            return  # somebody else removed it
        except CdcError as error:
            taken = Taken(state.path.name, Outcome.KEPT, problem=str(error))
        except OSError as error:
            where = error.filename2 or error.filename or state.path
            problem = (
                f"segment {state.path.name}: expected to move it to the archive, found: {error.strerror} ({where})"
            )
            taken = Taken(state.path.name, Outcome.KEPT, problem=problem)
        swept.taken.append(taken)
        if taken.problem is not None:
            swept.problems.append(taken.problem)
            log.warning("segment stays in cdc_raw", segment=taken.segment, reason=taken.problem)

    def contents(self, path: Path) -> Contents:
        """Reads a segment to tell what it holds. `UnsupportedVersion` for one that must stay where it is."""
        try:
            with SegmentFile(path, self._keys) as file:
                first = file.header.length
            return self._counted(path, first)
        except UnsupportedVersion:
            raise
        except HeaderError as error:
            return Contents(0, 1, damage=(str(error),))

    def _counted(self, path: Path, first: int) -> Contents:
        decoder = Decoder(self._schema, lambda table: table.keyspace not in SYSTEM_KEYSPACES, keys=self._keys)
        last, mutations, unknown = first, 0, 0
        tables: Counter[str] = Counter()
        damage: list[str] = []
        for batch in decoder.read(path):
            last = max(last, batch.end)
            mutations += batch.mutations
            for table in batch.tables:
                tables[table.table.full_name] += pc.count_distinct(table.rows.column("update")).as_py()
            for one in batch.damage:
                if one.kind in ("entry", "section"):
                    damage.append(str(one.error))
                else:
                    unknown += 1
        return Contents(first, last, mutations, dict(tables), tuple(damage), unknown)
