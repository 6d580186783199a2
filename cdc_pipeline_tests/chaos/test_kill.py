"""SIGKILL at any point of a run, and a start again: the same end state, every change counted once."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline_tests.chaos.child import STEPS
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import EVENTS, MICROS, USERS, Node, event, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, offset, rows
from cdc_pipeline_tests.load.changes import table
from cdc_pipeline_tests.load.destination import state_of
from cdc_pipeline_tests.types.values import int_bytes

CLOCK = table("clock", key=[("id", "int")], regular=[("at", "time")])
TIMES = range(1, 4)
ONCE = {"before preparing", "tables prepared", "before the claim", "claimed, not committed", "lane open"}
MILLISECONDS = (20, 60, 100, 150, 200, 250)


def clock(number: int, nanos: int) -> bytes:
    """An INSERT into `clock`; `nanos` that are no whole µs are parked."""
    cells = [en.cell(struct.pack(">q", nanos))]
    row = en.row(columns=cells, live=en.Liveness(MICROS))
    return en.mutation(en.update(CLOCK.id.bytes, int_bytes(number), [row], columns=["at"]))


def deletion(day: int) -> bytes:
    """A range deletion over a day's first events, older than half of them."""
    gone = en.BASE.deletion(MICROS, MICROS // 1_000_000)
    bounds = [
        en.bound(en.INCL_START, [int_bytes(0)], gone, fixed=True),
        en.bound(en.INCL_END, [int_bytes(3)], gone, fixed=True),
    ]
    return en.mutation(en.update(EVENTS.id.bytes, int_bytes(day), bounds))


def workload(node: Node) -> int:
    """Three segments of inserts, updates, ranges and changes that are parked; returns how many changes."""
    mutations: list[bytes] = []
    for number in range(420):
        mutations.append(user(number % 60, f"name {number}", at=MICROS + number * 7 % 50))
        mutations.append(event(number % 9, number % 6))
        if number % 4 == 0:
            mutations.append(deletion(number % 9))
        if number % 3 == 0:
            mutations.append(clock(number, number * 1000 + number % 2))
    third = len(mutations) // 3
    for segment in range(3):
        part = mutations[segment * third : (segment + 1) * third if segment < 2 else None]
        node.segment(segment, *[part[at : at + 20] for at in range(0, len(part), 20)])
    return len(mutations)


@pytest.fixture
def workspace(tmp_path: Path, pg_database: str) -> tuple[Workspace, int]:
    """A project over the workload, a few rows a transaction, and the number of changes."""
    node = Node(tmp_path / "cdc_raw")
    changes = workload(node)
    schema = write_schema(tmp_path / "schema.json", USERS, EVENTS, CLOCK)
    settings = {"batch": {"rows": 8}, "retry": {"attempts": 20, "wait": 0.02, "max_wait": 0.1}}
    return Workspace(tmp_path / "project", node.directory, schema, pg_database, settings=settings), changes


def test_killed_at_every_step(workspace: tuple[Workspace, int], make_pg_database: Callable[[], str]) -> None:
    """Dozens of deaths, at each named step several times and at odd moments, end as if there had been none."""
    broken, changes = workspace
    kills = [(step, number) for number in TIMES for step in STEPS if number == 1 or step not in ONCE]
    kills += [("milliseconds", ms) for ms in MILLISECONDS]
    command = [sys.executable, "-m", "cdc_pipeline_tests.chaos.child", str(broken.write()), json.dumps(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    ended = dict(zip(kills, json.loads(done.stdout), strict=True))
    finished = [(step, number) for (step, number), code in ended.items() if code == 0 and step in STEPS]
    assert [code for code in ended.values() if code not in (0, -9)] == [], done.stderr
    assert finished == []
    assert sum(code == -9 for code in ended.values()) >= 40
    with broken.project() as project:
        runner = drained(project)
        assert runner.drain() == 0
        state = offset(runner)
    whole = Workspace(
        broken.folder.with_name("whole"), broken.segments, broken.schema, make_pg_database(), settings=broken.settings
    )
    (broken.folder / "keys.json").rename(_made(whole.folder) / "keys.json")
    with whole.project() as project:
        uninterrupted = drained(project)
        assert state.position == offset(uninterrupted).position
        assert state.events_processed == offset(uninterrupted).events_processed == changes
    assert state_of(broken.conninfo) == state_of(whole.conninfo)
    letters = "SELECT id, reason, retry_count FROM cdc.dead_letters ORDER BY id"
    assert rows(broken.conninfo, letters) == rows(whole.conninfo, letters)
    assert {tries for _, _, tries in rows(broken.conninfo, letters)} == {0}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
