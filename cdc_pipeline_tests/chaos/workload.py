"""A log that a lane takes dozens of micro-batches for, what it must have become, and a project over it."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.project import Project
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import EVENTS, MICROS, USERS, Node, event, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, offset, rows
from cdc_pipeline_tests.load.changes import table
from cdc_pipeline_tests.load.destination import state_of
from cdc_pipeline_tests.types.values import int_bytes

CLOCK = table("clock", key=[("id", "int")], regular=[("at", "time")])
SETTINGS: dict[str, Any] = {"batch": {"rows": 8}, "retry": {"attempts": 20, "wait": 0.02, "max_wait": 0.1}}
LETTERS = "SELECT id, reason FROM cdc.dead_letters ORDER BY id"


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


def workload(node: Node, count: int = 420, segments: int = 3) -> int:
    """Segments of inserts, updates, ranges and changes that are parked; returns how many changes."""
    mutations: list[bytes] = []
    for number in range(count):
        mutations.append(user(number % 60, f"name {number}", at=MICROS + number * 7 % 50))
        mutations.append(event(number % 9, number % 6))
        if number % 4 == 0:
            mutations.append(deletion(number % 9))
        if number % 3 == 0:
            mutations.append(clock(number, number * 1000 + number % 2))
    share = len(mutations) // segments
    for segment in range(segments):
        part = mutations[segment * share : (segment + 1) * share if segment < segments - 1 else None]
        node.segment(segment, *[part[at : at + 20] for at in range(0, len(part), 20)])
    return len(mutations)


@dataclasses.dataclass
class Site:
    """A node with its log, and how many changes it holds."""

    folder: Path
    node: Node
    schema: Path
    changes: int

    def workspace(self, conninfo: str, name: str = "project", **settings: Any) -> Workspace:
        """A project that loads it into a database; all projects of a site share a key ring."""
        folder = self.folder / name
        workspace = Workspace(folder, self.node.directory, self.schema, conninfo, settings=SETTINGS | settings)
        folder.mkdir(parents=True, exist_ok=True)
        keys = self.folder / "keys.json"
        if keys.exists():
            (folder / "keys.json").write_bytes(keys.read_bytes())
            (folder / "keys.json").chmod(0o600)
        else:
            workspace.write()
            keys.write_bytes((folder / "keys.json").read_bytes())
        return workspace

    def assert_exact(self, project: Project, conninfo: str, make_pg_database: Callable[[], str]) -> None:
        """A lane that was interrupted has counted each change once, and left what an uninterrupted one leaves."""
        runner = drained(project)
        assert runner.result.problems == []
        whole = make_pg_database()
        with self.workspace(whole, f"whole-{whole.rpartition('_')[2][:8]}").project() as another:
            uninterrupted = drained(another)
            assert offset(runner).position == offset(uninterrupted).position
            assert offset(runner).events_processed == offset(uninterrupted).events_processed == self.changes
        assert state_of(conninfo) == state_of(whole)
        assert rows(conninfo, LETTERS) == rows(whole, LETTERS)


def make_site(folder: Path, count: int = 420) -> Site:
    """A site in a folder."""
    node = Node(folder / "cdc_raw")
    changes = workload(node, count)
    return Site(folder, node, write_schema(folder / "schema.json", USERS, EVENTS, CLOCK), changes)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of its own."""
    return make_site(tmp_path)
