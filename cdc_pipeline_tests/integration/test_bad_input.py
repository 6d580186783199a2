"""What bad input gets: one clear sentence with file and offset or key, nothing lost, and the rest goes on."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.change import START, Position
from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.errors import CdcError, ConfigurationError, LaneLost, PermanentSinkError, TransientSinkError
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import EVENTS, FIRST, MICROS, TABLES, USERS, Node, event, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, offset, rows
from cdc_pipeline_tests.types.values import int_bytes


@dataclasses.dataclass
class Bench:
    """A node, and projects over it; every project is closed in the end."""

    node: Node
    workspace: Workspace
    projects: list[Project] = dataclasses.field(default_factory=list)

    def project(self) -> Project:
        """A new project."""
        self.projects.append(self.workspace.project())
        return self.projects[-1]

    def drained(self) -> LaneRunner:
        """A runner that has drained the lane."""
        return drained(self.project())

    def users(self) -> list[int]:
        """The keys in `ks.users`."""
        return [key for (key,) in rows(self.workspace.conninfo, "SELECT id FROM ks.users ORDER BY 1")]

    def letters(self) -> list[tuple[Any, ...]]:
        """(reason, message, file, position) of what was parked."""
        columns = "reason, message, commitlog_file, commitlog_position"
        return rows(self.workspace.conninfo, f"SELECT {columns} FROM cdc.dead_letters ORDER BY 3, 4")


@pytest.fixture
def bench(tmp_path: Path, pg_database: str) -> Iterator[Bench]:
    """An empty node and its project."""
    node = Node(tmp_path / "cdc_raw")
    schema = write_schema(tmp_path / "schema.json", *TABLES)
    bench = Bench(node, Workspace(tmp_path / "project", node.directory, schema, pg_database, masked=False))
    yield bench
    for project in bench.projects:
        project.close()


def name(number: int = 0, version: int = 7) -> str:
    return f"CommitLog-{version}-{FIRST + number}.log"


# --- directories and files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (shutil.rmtree, "No such file or directory"),
        (lambda d: (shutil.rmtree(d), d.write_text("x")), "Not a directory"),
    ],
    ids=["missing", "unreadable"],
)
def test_a_directory_that_cannot_be_listed(bench: Bench, damage: Callable[[Path], Any], found: str) -> None:
    """A missing or unreadable `cdc_raw` stops with its path and the shard, exit code 2, before the offset moves."""
    damage(bench.node.directory)
    runner = lane(bench.project())
    runner.open("test")
    with pytest.raises(ConfigurationError) as caught:
        runner.drain()
    assert str(caught.value) == f"{bench.node.directory}: shard node1: expected a readable directory, found: {found}"
    assert caught.value.exit_code == 2
    assert offset(runner).position == START


def test_an_archive_that_is_not_there_yet(bench: Bench, tmp_path: Path) -> None:
    """The archive's folder of a shard may come later; what lies in it is read as if it lay in `cdc_raw`."""
    archive = {"directory": str(tmp_path / "archive")}
    bench.workspace.settings["source"] = {"archive": archive}
    bench.node.segment(1, [user(1)])
    assert bench.drained().result.applied == 1
    archived = Node(tmp_path / "archive" / "node1")
    archived.segment(2, [user(2)])
    bench.drained()
    assert bench.users() == [1, 2]


def test_a_segment_that_is_no_file(bench: Bench) -> None:
    """A segment that cannot be read stops the lane in front of it, with its name."""
    bench.node.segment(0, [user(0)])
    bench.node.segment(1, [user(1)])
    bench.node.path(1).unlink()
    bench.node.path(1).mkdir()
    runner = lane(bench.project())
    runner.open("test")
    with pytest.raises(CdcError, match=f"^segment {name(1)}: expected a readable file, found: Is a directory$"):
        runner.drain()
    assert bench.users() == [0]
    assert offset(runner).position.segment == name(0)


def test_a_segment_that_vanishes(bench: Bench) -> None:
    """A segment removed between listing and reading is reported, and the next ones are loaded; the one that follows
    the first is read while that is loaded."""
    for number in range(4):
        bench.node.segment(number, [user(number)])
    runner = lane(bench.project())
    runner.open("test")
    runner.on_commit = lambda _: bench.node.path(2).unlink(missing_ok=True)
    runner.drain()
    assert bench.users() == [0, 1, 3]
    assert runner.result.problems == [
        f"segment {name(2)}: vanished before it was read; with cdc_block_writes: false it may be lost"
    ]


# --- segments --------------------------------------------------------------------------------------------------------


def unknown_version(node: Node) -> None:
    node.path(1).unlink()
    node.index(1).rename(node.directory / f"CommitLog-9-{FIRST + 1}_cdc.idx")
    node.path(1, 9).write_bytes(en.segment([en.entry(user(1))], version=9, segment_id=FIRST + 1))


def truncated(node: Node) -> None:
    data = node.path(1).read_bytes()
    node.path(1).write_bytes(data[: len(data) - 40])


def cut_in_the_header(node: Node) -> None:
    node.path(1).write_bytes(node.path(1).read_bytes()[:9])


def empty(node: Node) -> None:
    node.path(1).write_bytes(b"")


def second_section(node: Node) -> int:
    header = len(en.segment([], segment_id=FIRST + 1)) - 8
    return header + 8 + len(en.entry(user(10)))


DAMAGED: dict[str, tuple[Callable[[Node], None], str, str, list[int]]] = {
    "unknown version": (
        unknown_version,
        "CORRUPT_SEGMENT",
        f"segment {name(1, 9)}, offset 0: segment version expected 6, 7, 8, found 9",
        [0, 2],
    ),
    "corrupt header": (
        lambda node: node.flip(1, 15),
        "CORRUPT_SEGMENT",
        rf"segment {name(1)}, offset 16: header CRC expected [0-9a-f]{{8}}, found [0-9a-f]{{8}}",
        [0, 2],
    ),
    "half a header": (
        cut_in_the_header,
        "CORRUPT_SEGMENT",
        f"segment {name(1)}, offset 0: header of at least 14 bytes expected 14, found 9",
        [0, 2],
    ),
    "empty file": (
        empty,
        "CORRUPT_SEGMENT",
        f"segment {name(1)}, offset 0: header of at least 14 bytes expected 14, found 0",
        [0, 2],
    ),
    "corrupt marker": (
        lambda node: node.flip(1, second_section(node) + 5),
        "CORRUPT_SEGMENT",
        rf"segment {name(1)}, offset \d+: marker CRC expected [0-9a-f]{{8}}, found [0-9a-f]{{8}}",
        [0, 2, 10],
    ),
    "corrupt mutation": (
        lambda node: node.flip(1, second_section(node) + 30),
        "CORRUPT_MUTATION",
        rf"segment {name(1)}, offset \d+: .*CRC.*",
        [0, 2, 10, 12],
    ),
    "truncated": (
        truncated,
        "CORRUPT_SEGMENT",
        rf"segment {name(1)}, offset \d+: next marker at expected \d+ to \d+, found \d+",
        [0, 2, 10],
    ),
}


@pytest.mark.parametrize(("damage", "reason", "message", "left"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_segment(
    bench: Bench, damage: Callable[[Node], None], reason: str, message: str, left: list[int]
) -> None:
    """The damaged place is parked with file and offset, what else can be read is loaded, and the lane passes it."""
    bench.node.segment(0, [user(0)])
    bench.node.segment(1, [user(10)], [user(11), user(12)])
    bench.node.segment(2, [user(2)])
    damage(bench.node)
    runner = bench.drained()
    assert bench.users() == left
    (letter,) = bench.letters()
    assert letter[0] == reason
    assert re.fullmatch(message, letter[1]), letter[1]
    assert runner.result.problems == [letter[1]]
    assert runner.result.parked == {reason: 1}
    assert runner.result.needs_attention
    assert offset(runner).position.segment == name(2)
    assert offset(runner).events_processed == len(left)
    assert runner.drain() == 0
    again = bench.drained()
    assert again.result.micro_batches == 0
    assert bench.letters() == [letter]


@pytest.mark.parametrize("keep", [-30, 9, 0], ids=["truncated", "half a header", "empty"])
def test_damage_at_the_end_is_told_once(bench: Bench, keep: int) -> None:
    """A lane that stands at a damaged place of the last segment parks it once, however often it drains."""
    bench.node.segment(0, [user(0)], [user(1)])
    bench.node.path(0).write_bytes(bench.node.path(0).read_bytes()[:keep])
    runner = bench.drained()
    assert len(bench.letters()) == 1
    assert runner.drain() == 0
    assert bench.drained().result.micro_batches == 0
    assert rows(bench.workspace.conninfo, "SELECT retry_count FROM cdc.dead_letters") == [(0,)]


# --- the index -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("CO", "2 characters that are no number")])
def test_the_newest_index_cannot_be_read(bench: Bench, text: str, found: str) -> None:
    """An empty or half-written index says nothing of its segment: it is reported and waited for, nothing is passed."""
    bench.node.segment(0, [user(0)])
    bench.node.segment(1, [user(1)], index=text)
    runner = bench.drained()
    assert bench.users() == [0]
    assert runner.result.problems == [
        f"segment {bench.node.index(1).name}, offset 0: an offset expected decimal digits, found {found}"
    ]
    assert bench.letters() == []
    assert offset(runner).position.segment == name(0)
    bench.node.segment(1, [user(1)])
    assert runner.drain() == 1
    assert bench.users() == [0, 1]


def test_an_index_in_the_middle_cannot_be_read(bench: Bench) -> None:
    """Once later segments have data, a segment whose index is no number is read as far as its sections are valid."""
    bench.node.segment(0, [user(0)], index="")
    bench.node.segment(1, [user(1)])
    runner = bench.drained()
    assert bench.users() == [0, 1]
    assert len(runner.result.problems) == 1


def test_a_killed_nodes_index(bench: Bench) -> None:
    """An unfinished index with later segments behind it is waited for while it is young, and then read to its end."""
    bench.node.segment(0, [user(0)], [user(1)], live=True)
    whole = bench.node.index(0).read_text()
    header = len(en.segment([], segment_id=FIRST)) - 8
    bench.node.index(0).write_text(f"{header + 8 + len(en.entry(user(0)))}\n")
    bench.node.segment(1, [user(2)])
    assert int(whole) > int(bench.node.index(0).read_text())
    bench.drained()
    assert bench.users() == [0]
    bench.node.settle()
    bench.drained()
    assert bench.users() == [0, 1, 2]


# --- the schema ------------------------------------------------------------------------------------------------------


def test_an_unknown_table(bench: Bench) -> None:
    """A mutation of a table id that no schema has is parked with the id and its place; the others go."""
    nobody = bytes(range(16))
    stranger = en.mutation(en.update(nobody, int_bytes(1), [en.row(columns=[], live=en.Liveness(MICROS))]))
    bench.node.segment(0, [user(0), stranger, event(1, 1)])
    runner = bench.drained()
    ((reason, message, file, position),) = bench.letters()
    assert (reason, file) == ("UNKNOWN_TABLE", name())
    assert message == (
        f"segment {name()}, offset {position}: table id 00010203-0405-0607-0809-0a0b0c0d0e0f: expected in the schema, "
        "found in none of its snapshots"
    )
    assert runner.result.applied == 2
    assert (runner.result.mutations, runner.result.filtered) == (2, 0)


def test_a_column_that_the_schema_lacks(bench: Bench, tmp_path: Path) -> None:
    """A mutation with a column that the schema lacks is parked with the column's name; other tables go on."""
    poorer = dataclasses.replace(USERS, columns=tuple(c for c in USERS.columns if c.name != "email"))
    write_schema(tmp_path / "schema.json", poorer, EVENTS)
    bench.node.segment(0, [user(0, email="e"), user(1), event(1, 1)])
    runner = bench.drained()
    ((reason, message, _, position),) = bench.letters()
    assert reason == "UNKNOWN_COLUMN"
    assert message == (
        f"segment {name()}, offset {position}: column email of ks.users: expected in the schema, "
        "found in none of its rows"
    )
    assert bench.users() == [1]
    assert runner.result.changes == {"ks.users": 1, "ks.events": 1}


# --- the destination -------------------------------------------------------------------------------------------------


def test_postgres_is_down_at_start(bench: Bench) -> None:
    """A server that does not answer is tried a bounded number of times, and then one sentence says so."""
    bench.workspace.conninfo = make_conninfo(bench.workspace.conninfo, port=1, connect_timeout=2)
    runner = lane(bench.project())
    started = time.monotonic()
    with pytest.raises(
        TransientSinkError, match=r"^destination warehouse.*: preparing tables failed: the server cannot"
    ):
        runner.open("test")
    assert time.monotonic() - started < 5
    assert runner.result.state is None


def test_a_wrong_password(bench: Bench) -> None:
    """A refused password is not tried again."""
    bench.workspace.conninfo = make_conninfo(bench.workspace.conninfo, password="wrong")
    bench.workspace.settings["retry"] = {"attempts": 50, "wait": 5, "max_wait": 5}
    runner = lane(bench.project())
    started = time.monotonic()
    with pytest.raises(PermanentSinkError, match=r"the password is wrong$"):
        runner.open("test")
    assert time.monotonic() - started < 4


def test_drain_before_open(bench: Bench) -> None:
    """A lane that nobody opened says so."""
    with pytest.raises(CdcError, match=r"lane warehouse/node1: expected open\(\) before anything else"):
        lane(bench.project()).drain()


@pytest.fixture
def own_server() -> Iterator[tuple[Path, EmbeddedPostgres]]:
    """A server that a test may stop."""
    directory = Path(tempfile.mkdtemp(prefix="cdc-tests-stopped-"))
    try:
        with EmbeddedPostgres(directory, fast=True) as server:
            yield directory, server
    finally:
        shutil.rmtree(directory)


def stop(directory: Path, how: signal.Signals) -> None:
    """Ends the server in a folder, by the number in its own pid file."""
    pid = int((directory / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, how)
    while (directory / "data" / "postmaster.pid").exists() and how != signal.SIGQUIT:
        time.sleep(0.01)


def test_postgres_stops_in_the_middle_and_comes_back(bench: Bench, own_server: tuple[Path, EmbeddedPostgres]) -> None:
    """A server that is stopped between two batches and started again is waited for: nothing is lost or doubled."""
    directory, server = own_server
    bench.workspace.conninfo = server.create_database("cdc")
    bench.workspace.settings["retry"] = {"attempts": 200, "wait": 0.02, "max_wait": 0.1}
    for number in range(4):
        bench.node.segment(number, [user(number), user(100 + number)])
    runner = lane(bench.project())
    runner.open("test")
    restarts: list[threading.Thread] = []

    def restart(_: LaneRunner) -> None:
        if not restarts:
            stop(directory, signal.SIGINT)
            restarts.append(threading.Thread(target=lambda: (time.sleep(0.3), server.start())))
            restarts[0].start()

    runner.on_commit = restart
    runner.drain()
    restarts[0].join()
    assert bench.users() == [0, 1, 2, 3, 100, 101, 102, 103]
    assert offset(runner).events_processed == 8
    assert offset(runner).epoch == 1


def test_postgres_stays_down(bench: Bench, own_server: tuple[Path, EmbeddedPostgres]) -> None:
    """When the server does not come back the lane stops at what was committed, and goes on from there later."""
    directory, server = own_server
    bench.workspace.conninfo = server.create_database("cdc")
    for number in range(3):
        bench.node.segment(number, [user(number)])
    runner = lane(bench.project())
    runner.open("test")
    runner.on_commit = lambda _: stop(directory, signal.SIGINT)
    with pytest.raises(TransientSinkError, match="the server cannot be reached"):
        runner.drain()
    server.start()
    assert bench.users() == [0]
    assert offset(runner).position.segment == name(0)
    assert bench.drained().result.applied == 2
    assert bench.users() == [0, 1, 2]


def test_rows_that_the_server_refuses(bench: Bench) -> None:
    """A row that only the server refuses is parked alone, in a drain and in a backfill, and the offset passes it."""
    long = "".join(map(str, os.urandom(20000)))
    bench.node.segment(0, [user(0), user(1, name=long), user(2)])
    project = bench.project()
    lane(project).prepare_tables()
    with psycopg.connect(bench.workspace.conninfo, autocommit=True) as connection:
        connection.execute('CREATE INDEX ON cdc."ks.users" ("v:name")')
    runner = drained(project)
    assert bench.users() == [0, 2]
    assert [letter[0] for letter in bench.letters()] == ["REFUSED_BY_DESTINATION"]
    assert (runner.result.applied, runner.result.parked_changes) == (2, 1)
    assert offset(runner).events_processed == 3
    again = lane(project)
    again.backfill(again.source.segments())
    assert again.result.parked == {"REFUSED_BY_DESTINATION": 1}
    assert bench.users() == [0, 2]


# --- positions -------------------------------------------------------------------------------------------------------


def test_a_live_segment_is_followed(bench: Bench) -> None:
    """Of a segment that is being written only what the index calls durable is loaded, each section once."""
    sections: list[list[bytes]] = []
    runner = lane(bench.project())
    runner.open("test")
    for number in range(4):
        sections.append([user(number)])
        bench.node.segment(0, *sections, [user(99)], live=True)
        header = len(en.segment([], segment_id=FIRST)) - 8
        durable = header + sum(8 + len(en.entry(one[0])) for one in sections)
        bench.node.index(0).write_text(f"{durable}\n")
        assert runner.drain() == 1
        assert bench.users() == list(range(number + 1))
        assert offset(runner).position == Position(name(), durable)
    assert runner.result.applied == 4


def test_a_drain_that_is_asked_to_stop(bench: Bench) -> None:
    """A drain ends between two micro-batches, and the next one goes on behind it."""
    for number in range(3):
        bench.node.segment(number, [user(number)])
    runner = lane(bench.project())
    runner.open("test")
    assert runner.drain(lambda: True) == 1
    assert bench.users() == [0]
    assert runner.drain() == 2
    assert runner.drain() == 0


def test_small_batches_end_inside_a_section(bench: Bench) -> None:
    """However few rows a transaction takes, every position between is a place to go on from."""
    bench.workspace.settings["batch"] = {"rows": 2}
    bench.node.segment(0, [user(number) for number in range(7)])
    runner = lane(bench.project())
    runner.open("test")
    positions = []
    runner.on_commit = lambda one: positions.append(one.held.position)
    runner.drain(lambda: len(positions) == 2)
    assert bench.drained().result.applied + runner.result.applied == 7
    assert bench.users() == list(range(7))
    assert sorted(set(positions)) == positions
    assert offset(runner).events_processed == 7


def test_a_second_writer_takes_over(bench: Bench) -> None:
    """A runner that opens the lane stops the older one at its next batch, with nothing doubled."""
    for number in range(3):
        bench.node.segment(number, [user(number)])
    old, young = lane(bench.project()), lane(bench.project())
    old.open("old")
    old.drain(lambda: True)
    young.open("young")
    with pytest.raises(LaneLost, match=r"^lane warehouse/node1: expected epoch 1 at .*, found epoch 2 at "):
        old.drain()
    young.drain()
    assert bench.users() == [0, 1, 2]
    assert offset(young).events_processed == 3


def test_a_backfill_of_some_tables(bench: Bench) -> None:
    """A backfill loads the tables that were asked for, counts them, and leaves the offset."""
    bench.node.segment(0, [user(0), event(1, 1)])
    runner = lane(bench.project())
    result = runner.backfill(runner.source.segments(), ["ks.events"])
    assert result.changes == {"ks.events": 1}
    assert bench.users() == []
    assert runner.sink.state(runner.lane) is None
