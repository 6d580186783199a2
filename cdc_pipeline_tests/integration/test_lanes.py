"""Two destinations of different kinds over one log: whatever happens to one, the other's lane does not notice."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc_pipeline.cli import main
from cdc_pipeline.load import Sink, read_truth
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.project import Project
from cdc_pipeline_tests.chaos.gate import Gate, State
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import FIRST, TABLES, Node, user, write_schema
from cdc_pipeline_tests.recordings import Recording

WAREHOUSE, LAKE = "warehouse", "lake"
OTHER = {WAREHOUSE: LAKE, LAKE: WAREHOUSE}
RETRY = {"attempts": 3, "wait": 0.05, "max_wait": 0.2}
SECONDS = 40.0


@dataclass
class Site:
    """A node's directory, its schema, and a PostgreSQL and a ClickHouse place of its own."""

    folder: Path
    raw: Path
    schema: Path
    conninfo: str
    place: ChDatabase
    settings: dict[str, Any] = field(default_factory=dict)

    def destinations(self) -> dict[str, dict[str, Any]]:
        """Both, reached directly."""
        lake = {
            "kind": "clickhouse",
            "host": self.place.host,
            "port": self.place.port,
            "username": self.place.username,
            "password": self.place.password,
            "prefix": self.place.prefix,
            "state_database": f"{self.place.prefix}cdc",
            "types": {"profile": "exact"},
            "pace": "200ms",
        }
        warehouse = {"kind": "postgres", "dsn": self.conninfo, "types": {"profile": "exact"}}
        return {WAREHOUSE: warehouse, LAKE: lake}

    def config(self, destinations: dict[str, dict[str, Any]] | None = None) -> Path:
        """The file of a project over them."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "rules.yaml").write_text("pii_fields: []\nphi_fields: []\n")
        source = {
            "shards": {"node1": {"directory": str(self.raw)}},
            "schema": {"file": str(self.schema)},
            **self.settings.get("source", {}),
        }
        path = self.folder / f"cdc-{time.monotonic_ns()}.yaml"
        text = {
            "source": source,
            "destinations": destinations if destinations is not None else self.destinations(),
            "masking": {"rules": "rules.yaml"},
            "retry": RETRY,
        }
        path.write_text(yaml.safe_dump(text))
        return path


@pytest.fixture
def recorded(
    open_recording: Callable[[str], Recording], tmp_path: Path, pg_database: str, ch_database: ChDatabase
) -> tuple[Recording, Site]:
    """A recorded node's log."""
    recording = open_recording("tombstones-5.0")
    raw = tmp_path / "cdc_raw"
    shutil.copytree(recording.main.path, raw)
    return recording, Site(tmp_path / "p", raw, recording.path / "schema.json", pg_database, ch_database)


def state_of(project: Project, destination: str) -> LaneState | None:
    """Where the lane stands."""
    return project.sink(destination).state(Lane(destination, "node1"))


def assert_truth(project: Project, destination: str, recording: Recording) -> None:
    """Every table that has a truth has its rows."""
    sink, compared = project.sink(destination), 0
    for name, masks in project.loaded(sink).items():
        path = recording.path / "expected" / f"{name}.raw.jsonl"
        if path.exists():
            truth = list(read_truth(path))
            found = sink.compare(masks.table, masks, truth, recording.meta["expected_at"])
            assert (name, found.missing[:2], found.extra[:2]) == (name, (), ())
            compared += len(truth)
    assert compared > 10


def once(config: Path) -> int:
    """`run --once`."""
    return main(["--config", str(config), "run", "--once"])


# --- what is wrong from the start ------------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "lake, nobody there": (LAKE, {"port": 1}, "cannot be reached"),
    "lake, wrong password": (LAKE, {"password": "wrong"}, "password is wrong"),
    "lake, memory too small": (LAKE, {"settings": {"max_memory_usage": 1}}, "MEMORY_LIMIT_EXCEEDED"),
    "lake, read only": (LAKE, {"settings": {"readonly": 1}}, "read only"),
    "lake, misconfigured": (LAKE, {"types": {"columns": {"tombs.one.v": "Nonsense"}}}, "tombs.one"),
    "lake, a secret that is not set": (LAKE, {"password": {"env": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE"),
    "warehouse, nobody there": (WAREHOUSE, {"port": 1}, "destination warehouse"),
    "warehouse, wrong password": (WAREHOUSE, {"password": "wrong"}, "destination warehouse"),
    "warehouse, read only": (WAREHOUSE, {"options": "-c default_transaction_read_only=on"}, "25006"),
    "warehouse, misconfigured": (WAREHOUSE, {"types": {"columns": {"tombs.one.v": "nonsense"}}}, "tombs.one"),
}


def broken(site: Site, destination: str, wrong: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Both destinations, one of them with what is wrong."""
    both = site.destinations()
    plain = {name: value for name, value in wrong.items() if name not in ("port", "password", "options")}
    if destination == WAREHOUSE:
        given = {name: str(value) for name, value in wrong.items() if name not in plain}
        both[WAREHOUSE] |= {"dsn": make_conninfo(site.conninfo, **given), **plain}
    else:
        both[LAKE] |= wrong
    return both


@pytest.mark.parametrize("what", WRONG)
def test_one_that_cannot_be_loaded(
    recorded: tuple[Recording, Site], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says why, in one sentence without a password; the other is loaded to the end; put right, it catches up."""
    recording, site = recorded
    destination, wrong, said = WRONG[what]
    assert once(site.config(broken(site, destination, wrong))) in (1, 2)
    errors = capfd.readouterr().err
    assert said in errors
    assert site.place.password not in errors
    with Project.load(site.config()) as project:
        source = project.source("node1")
        there = state_of(project, OTHER[destination])
        assert there is not None
        assert source.backlog(there.position) == 0
        assert_truth(project, OTHER[destination], recording)
        assert once(site.config()) == 0
        assert_truth(project, destination, recording)
        assert state_of(project, OTHER[destination]) is not None


# --- what goes wrong while both load ---------------------------------------------------------------------------------


@dataclass
class Growing:
    """A live segment whose index grows until there is enough: `durable` sections of ten changes."""

    node: Node
    sections: int = 2000
    durable: int = 0
    enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Writes the sections, then lets them become durable one after the other."""
        entries = [b"".join(en.entry(user(10 * at + n)) for n in range(10)) for at in range(self.sections)]
        data = en.segment(entries, segment_id=FIRST)
        section = (len(data) - len(en.segment([], segment_id=FIRST))) // self.sections
        first = len(data) - 8 - section * self.sections
        self.node.path().write_bytes(data)
        while self.durable < self.sections and not self.enough.is_set():
            self.durable += 1
            self.node.index().write_text(f"{first + section * self.durable}\n")
            time.sleep(0.05)

    @property
    def changes(self) -> int:
        """How many are durable."""
        return 10 * self.durable


@contextlib.contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    """`run` in a process of its own, ended at the end."""
    code = "import sys; from cdc_pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--config", str(config), "run", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.terminate()
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()


def waited(what: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether it comes to hold."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if what():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("state", [State.CLOSED, State.STALLED, State.SLOW])
@pytest.mark.parametrize("destination", [WAREHOUSE, LAKE])
def test_one_that_goes_away(
    tmp_path: Path, pg_database: str, ch_database: ChDatabase, destination: str, state: State
) -> None:
    """While one server is cut off, hangs or crawls, the other's lane stays where the log is; then both are there."""
    node = Node(tmp_path / "cdc_raw")
    site = Site(tmp_path / "p", node.directory, write_schema(tmp_path / "s.json", *TABLES), pg_database, ch_database)
    parts = conninfo_to_dict(pg_database)
    both = site.destinations()
    address = (
        (str(parts["host"]), int(str(parts["port"])))
        if destination == WAREHOUSE
        else (site.place.host, site.place.port)
    )
    with Gate(*address) as gate, Project.load(site.config()) as project:
        if destination == WAREHOUSE:
            both[WAREHOUSE]["dsn"] = make_conninfo(pg_database, host="127.0.0.1", port=gate.port, sslmode="disable")
        else:
            both[LAKE] |= {"host": "127.0.0.1", "port": gate.port}
        growing = Growing(node)
        writer = threading.Thread(target=growing.run)
        writer.start()
        try:
            with running(site.config(both)):
                ours, other = project.sink(destination), project.sink(OTHER[destination])
                assert waited(lambda: events(ours) > 0 and events(other) > 0)
                gate.set(state)
                time.sleep(0.5)  # what was under way may arrive yet
                stood, lags = events(ours), []
                for _ in range(30):
                    lags.append(growing.changes - events(other))
                    time.sleep(0.1)
                growing.enough.set()
                writer.join()
                late = growing.changes - stood
                assert max(lags) < late / 2, (late, lags)  # while the one fell behind the other did not
                if state is not State.SLOW:
                    assert events(ours) == stood
                assert waited(lambda: events(other) == growing.changes, 10)
                gate.set(State.CLOSED if state is State.STALLED else State.OPEN)  # a peer that comes back resets
                gate.set(State.OPEN)
                assert waited(lambda: events(ours) == growing.changes)
        finally:
            growing.enough.set()
            writer.join()


def events(sink: Sink) -> int:
    """Changes that a destination has taken."""
    found = sink.state(Lane(sink.name, "node1"))
    return found.events_processed if found is not None else 0


# --- one that comes later, and the archive ---------------------------------------------------------------------------


@pytest.fixture
def archived(tmp_path: Path, pg_database: str, ch_database: ChDatabase) -> Site:
    """Three segments, loaded into PostgreSQL alone, in an archive that keeps nothing longer than it must."""
    node = Node(tmp_path / "cdc_raw")
    for number in range(3):
        node.segment(number, [user(10 * number + n) for n in range(10)])
    node.settle()
    schema = write_schema(tmp_path / "schema.json", *TABLES)
    settings = {"source": {"archive": {"directory": str(tmp_path / "archive"), "retention": "0s"}}}
    site = Site(tmp_path / "p", node.directory, schema, pg_database, ch_database, settings)
    config = site.config({WAREHOUSE: site.destinations()[WAREHOUSE]})
    assert once(config) == 0
    assert main(["--config", str(config), "archive", "sweep"]) == 0
    assert not list(node.directory.glob("*.log"))
    return site


def users(site: Site, capfd: pytest.CaptureFixture[str]) -> list[int]:
    """Rows that users of the two destinations see."""
    found = []
    for destination, database in ((WAREHOUSE, "ks"), (LAKE, f"{site.place.prefix}ks")):
        capfd.readouterr()
        query = f"SELECT count(*) AS n FROM {database}.users"
        assert main(["--config", str(site.config()), "sql", destination, query, "--json"]) == 0
        found.append(json.loads(capfd.readouterr().out)["n"])
    return found


def test_one_that_comes_later_is_filled_from_the_archive(archived: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """All that the archive holds is loaded; the lane that was there before does not move."""
    with Project.load(archived.config()) as project:
        before = state_of(project, WAREHOUSE)
        assert once(archived.config()) == 0
        after = state_of(project, WAREHOUSE)
    assert before is not None
    assert after is not None
    assert (after.position, after.events_processed) == (before.position, before.events_processed)
    assert "begins without" not in "".join(capfd.readouterr())
    assert users(archived, capfd) == [30, 30]


def test_one_that_comes_too_late_says_so(archived: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """What left the archive before is named by `plan`, `check`, `status` and the lane, which loads what is there."""
    alone = str(archived.config({WAREHOUSE: archived.destinations()[WAREHOUSE]}))
    for _ in range(2):
        assert main(["--config", alone, "archive", "prune"]) == 0
    assert main(["--config", alone, "check"]) == 0
    assert main(["--config", alone, "status"]) == 0
    assert "begins without" not in "".join(capfd.readouterr())  # whom it does not concern
    node = Node(archived.raw)
    node.segment(3, [user(100), user(101)])
    config = str(archived.config())
    for command in (["plan"], ["check", "--json"], ["status"], ["run", "--once"]):
        main(["--config", config, *command])
        said = " ".join("".join(capfd.readouterr()).split())
        assert "begins without what was written before: 3 segments from CommitLog-7-" in said, command
    assert users(archived, capfd) == [32, 2]


def test_the_archive_keeps_what_a_new_lane_needs(archived: Site, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing leaves while a destination has not passed it, or cannot be asked, which is said."""
    config, both = str(archived.config()), archived.destinations()
    assert main(["--config", config, "archive", "prune", "--json"]) == 0
    (said,) = map(json.loads, capfd.readouterr().out.splitlines()[-1:])
    assert (said["removed"], said["held_by"]) == ([], {f"{LAKE}/node1": 3})
    both[LAKE] |= {"port": 1}
    assert main(["--config", str(archived.config(both)), "archive", "prune"]) == 1
    assert "the archive is not pruned while a destination is unknown: destination lake" in capfd.readouterr().err
    assert once(archived.config()) == 0
    removed = []
    for _ in range(2):
        capfd.readouterr()
        assert main(["--config", config, "archive", "prune", "--json"]) == 0
        removed += json.loads(capfd.readouterr().out)["removed"]
    assert len(removed) == 3
    assert users(archived, capfd) == [30, 30]
