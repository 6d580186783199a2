"""A process that sweeps or prunes an archive and kills itself behind a named step.

`python -m cdc_pipeline_tests.capture.sweeper RAW ARCHIVE WHAT '["placed", …]'` imports once, then forks a child for
each step, one after the other on what its predecessor left, and prints, as JSON, how each ended: -9 when it was killed.
WHAT is `link`, `copy`, `half copy` (killed in the middle of one) or `prune`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from cdc_pipeline.archivist import Archivist, LaneView
from cdc_pipeline.capture import ShardLog
from cdc_pipeline.capture.archive import ShardArchive
from cdc_pipeline.change import Position
from cdc_pipeline.offsets import Lane
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.integration.node import TABLES

SWEEP_STEPS = ("placed", "verified", "archived", "described", "removed log", "removed index")
PRUNE_STEPS = ("noted", "dropped")


def die(step: str) -> None:
    """As `kill -9` from outside."""
    os.kill(os.getpid(), signal.SIGKILL)


def archivist(raw: Path, archive: Path, kill_at: str | None = None) -> Archivist:
    """Of a directory of the tests' tables; it dies behind a step when asked to."""
    shard = ShardArchive(archive, lambda step: die(step) if step == kill_at else None)
    return Archivist(ShardLog("node1", raw, archive), shard, Schema(TABLES), None)


def passed(*segments: str) -> LaneView:
    """A lane that has read these segments, all of them."""
    return LaneView(Lane("warehouse", "node1"), Position(segments[-1], 2**40), frozenset(segments))


def work(keeper: Archivist, what: str) -> None:
    """What the process is there for."""
    if what == "prune":
        names = [one.segment for one in keeper.archive.manifests()]
        keeper.prune([passed(*names)], 0.0)
        return
    if what != "link":
        os.link = refuse
    if what == "half copy":
        shutil.copyfile = half
    keeper.sweep()


def refuse(*_: object) -> None:
    """As another file system does."""
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def half(source: Path, target: Path) -> None:
    """A copy that ends in the middle, with its process."""
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    die("half")


def main() -> None:
    raw, archive, what, steps = sys.argv[1:]
    ended = []
    for step in json.loads(steps):
        child = os.fork()
        if child == 0:
            work(archivist(Path(raw), Path(archive), step), what)
            os._exit(0)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
