"""The segments that lie in a directory, without asking for them again while nothing changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cdc_pipeline.change import SegmentName, parse_segment_name

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = ("nfs", "cifs", "smb", "9p", "fuse", "virtiofs", "ceph", "glusterfs", "lustre", "gpfs", "afs", "vboxsf")
_TICK_SECONDS = 2.0
"""Far above the steps of a file system's clock: a directory changed longer ago than this when it was listed."""


class SegmentFolder:
    """A directory; an archive of weeks has more names than may be listed at every look."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._remote = is_remote(directory)
        self._changed = -1
        self._files: dict[str, SegmentName] = {}
        self._names: dict[int, SegmentName] = {}

    def names(self) -> dict[int, SegmentName]:
        """Version and id by id. `OSError` when the directory cannot be read."""
        changed = self.directory.stat().st_mtime_ns
        if changed != self._changed or self._remote:
            settled = time.time() - changed / 1e9 > _TICK_SECONDS
            self._list()
            self._changed = changed if settled else -1
        return self._names

    def _list(self) -> None:
        files: dict[str, SegmentName] = {}
        for file in os.listdir(self.directory):
            if file.endswith(".log") and (name := self._files.get(file) or parse_segment_name(file)):
                files[file] = name
        if files != self._files:
            self._files, self._names = files, {name.id: name for name in files.values()}

    def path(self, name: SegmentName) -> Path:
        """Where a segment lies."""
        return self.directory / f"CommitLog-{name.version}-{name.id}.log"


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
