"""A process that runs a lane and kills or pauses itself: at the n-th time of a named step, or after some milliseconds.

`python -m cdc_pipeline_tests.chaos.child CONFIG STEP N` stops itself there, to be continued from outside; its exit code
says whether it drained the lane (0), lost it to another writer (3) or failed (1).

`python -m cdc_pipeline_tests.chaos.child CONFIG '[["fenced", 1], ...]'` imports once, then forks a child for each kill
and prints, as JSON, how each ended: -9 when it was killed, 0 when it had drained the lane before.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from cdc_pipeline.errors import LaneLost
from cdc_pipeline.fitting import Fitter
from cdc_pipeline.history import SchemaHistory
from cdc_pipeline.load.clickhouse import dead_letters as clickhouse_letters
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.offsets import Offsets
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.load.postgres import PostgresSink, dead_letters, merge, offsets, rerender
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project

LOST = 3
"""The exit code of a writer that another took the lane from."""

STEPS: dict[str, tuple[Any, str, bool]] = {
    "before preparing": (PostgresSink, "prepare", False),
    "tables prepared": (PostgresSink, "prepare", True),
    "before the claim": (offsets, "claim", False),
    "claimed, not committed": (offsets, "claim", True),
    "lane open": (LaneRunner, "open", True),
    "before fitting": (Fitter, "prepare", False),
    "fitted": (Fitter, "prepare", True),
    "before the transaction": (PostgresSink, "apply", False),
    "before the fence": (offsets, "fence", False),
    "fenced": (offsets, "fence", True),
    "before a copy": (psycopg.Copy, "write", False),
    "copied": (psycopg.Copy, "write", True),
    "before a range": (merge, "cover_rows", False),
    "before a merge": (merge, "merge_rows", False),
    "merged, before the letters": (dead_letters, "store", False),
    "letters stored": (dead_letters, "store", True),
    "before the offset": (offsets, "move", False),
    "offset moved, not committed": (offsets, "move", True),
    "committed, not known": (PostgresSink, "apply", True),
    "known": (LaneRunner, "_written", True),
}
"""Where a process may die: (owner, function, whether behind it)."""

CLICKHOUSE_STEPS: dict[str, tuple[Any, str, bool]] = {
    "before ClickHouse's tables": (ClickHouseSink, "prepare", False),
    "ClickHouse's tables prepared": (ClickHouseSink, "prepare", True),
    "before claiming": (Offsets, "claim", False),
    "claimed": (Offsets, "claim", True),
    "before an apply": (ClickHouseSink, "apply", False),
    "before a look at the fence": (Offsets, "fence", False),
    "behind the fence": (Offsets, "fence", True),
    "before anything is written": (ClickHouseSink, "_write", False),
    "before an insert": (Connection, "insert", False),
    "inserted": (Connection, "insert", True),
    "all written": (ClickHouseSink, "_write", True),
    "before the parked": (clickhouse_letters, "store", False),
    "parked": (clickhouse_letters, "store", True),
    "before the offset's row": (Offsets, "move", False),
    "offset's row written": (Offsets, "move", True),
    "applied": (ClickHouseSink, "apply", True),
}
"""The same on ClickHouse; the n-th insert is the ledger's, rows', static rows', letters' or the offset's."""

SCHEMA_STEPS: dict[str, tuple[Any, str, bool]] = {
    "before a change is kept": (SchemaHistory, "record", False),
    "change kept": (SchemaHistory, "record", True),
    "shown anew, not committed": (rerender, "rerender", True),
    "before a segment is begun": (SchemaHistory, "begin", False),
    "before a truncation": (merge, "purge", False),
    "truncated, not committed": (PostgresSink, "_truncate", True),
}
"""The same where the schema changes in the log."""


def kill() -> None:
    """As `kill -9` from outside: nothing is closed, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def pause() -> None:
    """As a machine that is suspended: nothing goes on, nothing is given back."""
    os.kill(os.getpid(), signal.SIGSTOP)


def die_at(step: str, number: int, end: Callable[[], None] = kill) -> None:
    """Arms the death of this process, or another end, at the `number`-th time of a step, or `number` ms from now."""
    if step == "milliseconds":
        threading.Thread(target=lambda: (time.sleep(number / 1000), kill()), daemon=True).start()
        return
    owner, name, behind = (STEPS | SCHEMA_STEPS | CLICKHOUSE_STEPS)[step]
    function = getattr(owner, name)
    times = 0

    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal times
        times += 1
        mine = times
        if mine == number and not behind:
            end()
        result = function(*arguments, **named)
        if mine == number and behind:
            end()
        return result

    setattr(owner, name, armed)


def run(config: Path) -> None:
    """What `cdc-pipeline run --once` does, one lane after the other."""
    with Project.load(config) as project:
        for lane in project.lanes():
            runner = project.lane(lane)
            runner.open("chaos")
            runner.drain()


def forked(work: Callable[[], None]) -> int:
    """Runs in a child; returns its exit code, or the negative number of the signal that ended it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        work()
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def paused(config: str, step: str, number: str) -> int:
    """Runs the lane with a pause."""
    die_at(step, int(number), pause)
    try:
        run(Path(config))
    except LaneLost as error:
        print(error)
        return LOST
    return 0


def main(config: str, kills: str) -> None:
    """One child after the other."""
    ended = []
    for step, number in json.loads(kills):
        ended.append(forked(lambda step=step, number=number: (die_at(step, number), run(Path(config)))))  # type: ignore[misc]
    print(json.dumps(ended))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.exit(paused(*sys.argv[1:]))
    main(*sys.argv[1:])
