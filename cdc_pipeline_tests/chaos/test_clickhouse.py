"""A ClickHouse that is away, cut off, killed, full, read only or older than it was: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from cdc_pipeline.embedded.clickhouse import EmbeddedClickHouse
from cdc_pipeline.errors import LaneLost, OffsetConflict, PermanentSinkError, SinkError, TransientSinkError
from cdc_pipeline.offsets import LaneState
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline_tests.chaos.gate import Gate, State
from cdc_pipeline_tests.chaos.lake import Lake, backup, query, run
from cdc_pipeline_tests.chaos.proxy import Cut, TcpProxy
from cdc_pipeline_tests.chaos.workload import make_site
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.embedded.processes import eventually, processes_of
from cdc_pipeline_tests.integration.workspace import drained, lane, offset

ROWS, OFFSET = b"INSERT INTO", b"cdc_offsets (`"
FEW = {"attempts": 3, "wait": 0.01, "max_wait": 0.02}


@pytest.fixture
def lake(tmp_path: Path, make_ch_database: Callable[[], ChDatabase]) -> Lake:
    """A short log, and places for it."""
    return Lake(make_site(tmp_path, 130), make_ch_database)


def test_down_at_the_start(lake: Lake) -> None:
    """The lane waits, says for whom, and loads everything when the server comes."""
    place = lake.make()
    with Gate(place.host, place.port) as gate, structlog.testing.capture_logs() as logs:
        gate.set(State.CLOSED)

        def come() -> None:
            eventually(lambda: bool(logs))
            gate.set(State.OPEN)

        with lake.project(place, gate.port) as project:
            opener = threading.Thread(target=come)
            opener.start()
            drained(project)
            opener.join(5)
    waits = [entry["error"] for entry in logs if entry["event"] == "destination unavailable, waiting"]
    assert set(waits) == {
        f"destination warehouse at 127.0.0.1:{gate.port}: preparing tables failed: the server cannot be reached"
    }
    lake.assert_exact(place)


@pytest.mark.parametrize(
    ("mark", "every", "cut"),
    [
        *((ROWS, 11, cut) for cut in (Cut.PART, Cut.REPLY)),
        *((OFFSET, 2, cut) for cut in (Cut.BEFORE, Cut.REPLY, Cut.LATE)),
    ],
)
def test_cut_at_an_insert(lake: Lake, mark: bytes, every: int, cut: Cut) -> None:
    """INSERTs, of anything or of an offset, are cut off before them, within, or with their answer."""
    place = lake.make()
    with TcpProxy((place.host, place.port), mark, lambda at: cut if at % every == 0 else None) as proxy:
        with lake.project(place, proxy.port) as project:
            assert drained(project).held.events_processed == lake.site.changes
        assert len(proxy.cuts) >= 2
    lake.assert_exact(place)


def test_killed_in_the_middle(lake: Lake, tmp_path: Path) -> None:
    """The server dies three times, and is started again on its port: the lane waits, and goes on."""
    with EmbeddedClickHouse(tmp_path / "server", fast=True) as server:
        place = ChDatabase(server.host, server.port, server.username, server.password, "t_")
        helpers: list[threading.Thread] = []
        seen: list[int] = []

        def die() -> None:
            for number in processes_of(tmp_path / "server"):
                os.kill(number, signal.SIGKILL)
            assert eventually(lambda: not processes_of(tmp_path / "server"))
            server.start()

        def committed(runner: LaneRunner) -> None:
            seen.append(runner.held.events_processed)
            if len(seen) in (2, 5):
                helpers.append(threading.Thread(target=die))
                helpers[-1].start()

        with lake.project(place) as project:
            runner = lane(project)
            runner.open("killed")
            runner.on_commit = committed
            runner.drain()
            assert runner.held.events_processed == lake.site.changes
        for helper in helpers:
            helper.join(30)
        assert len(helpers) == 2
        assert seen == sorted(set(seen))
        Lake(lake.site, lambda: replace(place, prefix="w_")).assert_exact(place)


def ended(project: Project) -> SinkError:
    """What a lane gave up with."""
    with project, pytest.raises(SinkError) as caught:
        drained(project)
    return caught.value


def test_read_only(lake: Lake) -> None:
    """Worth another try: operators switch it off again."""
    place = lake.make()
    error = ended(lake.project(place, retry=FEW, settings={"readonly": "1"}))
    assert type(error) is TransientSinkError
    assert "the server or this user is read only (code 164)" in str(error)
    lake.assert_exact(place)


def test_too_little_memory_for_anything(lake: Lake) -> None:
    """Tried again, then given up with its name."""
    tiny = {"max_memory_usage": "100000", "max_untracked_memory": "1"}
    error = ended(lake.project(lake.make(), retry=FEW, settings=tiny))
    assert type(error) is TransientSinkError
    assert "failed with code 241, MEMORY_LIMIT_EXCEEDED" in str(error)


def test_a_wrong_password(lake: Lake) -> None:
    """Fails at once, and shows no password."""
    place = lake.make()
    error = ended(lake.project(place, password="canary-of-a-password"))
    assert type(error) is PermanentSinkError
    assert str(error) == (
        f"destination warehouse at 127.0.0.1:{place.port}: preparing tables failed: "
        "the user or the password is wrong (code 516)"
    )


@pytest.mark.parametrize(
    ("dsn", "kind", "said"),
    [
        ("http://no-such-host.invalid:8123", TransientSinkError, "the name of the server is not known"),
        ("https://127.0.0.1:PORT", PermanentSinkError, "no encrypted connection can be made as it is configured"),
        ("http://127.0.0.1:1", TransientSinkError, "the server cannot be reached"),
    ],
    ids=["host", "https", "port"],
)
def test_a_wrong_address(lake: Lake, dsn: str, kind: type[SinkError], said: str) -> None:
    """What may pass is tried again, what is configured wrongly is not."""
    place = lake.make()
    error = ended(lake.project(place, retry=FEW, dsn=dsn.replace("PORT", str(place.port))))
    assert type(error) is kind
    assert str(error).endswith(f"preparing tables failed: {said}")


def test_a_row_that_the_server_refuses(lake: Lake) -> None:
    """A constraint that somebody added to a state table parks the rows that it is about, and no others."""
    place = lake.make()
    with lake.project(place) as project:
        lane(project).open("first")
    (state,) = query(
        place,
        "SELECT name FROM system.tables WHERE database = '{p}cdc' AND name LIKE '%users%' AND engine LIKE '%MergeTree'",
    )
    run(place, f"ALTER TABLE `{{p}}cdc`.`{state[0]}` ADD CONSTRAINT c CHECK `p0` != 7")
    with lake.project(place) as project:
        runner = drained(project)
        assert runner.held.events_processed == lake.site.changes
        parked = runner.sink.dead_letters(reason="REFUSED_BY_DESTINATION", limit=100)
    assert {letter.message for letter in parked} == {
        "table ks.users: destination warehouse refused the row: code 469, VIOLATED_CONSTRAINT"
    }
    assert len(parked) == 3
    assert query(place, "SELECT id FROM {p}ks.users ORDER BY id") == [(n,) for n in range(60) if n != 7]
    assert query(place, "SELECT name FROM system.tables WHERE database = '{p}cdc' AND name LIKE 'tried%'") == []


def test_restored_under_a_running_lane(lake: Lake) -> None:
    """A lane that finds its destination behind itself says so; opened again it goes on from there."""
    place = lake.make()
    with lake.project(place) as project:
        runner = lane(project)
        runner.open("before")
        left = iter(range(2))
        runner.drain(lambda: next(left, None) is None)
        restore = backup(place)
        runner.drain(lambda: True)
        ahead = runner.held
        restore()
        assert offset(runner).position < ahead.position
        with pytest.raises(OffsetConflict, match="the destination went back"):
            runner.drain()
        runner.open("again")
        runner.drain()
    lake.assert_exact(place)


def test_many_claim_at_once(lake: Lake) -> None:
    """One of them holds the lane in the end; the others are told, and move nothing."""
    place = lake.make()
    with lake.project(place) as project:
        lane(project).open("first")
    runners: list[LaneRunner] = []
    ended: list[LaneState | SinkError] = []
    projects = [lake.project(place, name=f"p{number}") for number in range(4)]
    together = threading.Barrier(len(projects))

    def go(runner: LaneRunner) -> None:
        together.wait(20)
        try:
            runner.result.state = runner.sink.claim(runner.lane, "one of many")
            together.wait(20)
            runner.drain()
            ended.append(runner.held)
        except LaneLost as error:
            ended.append(error)

    for project in projects:
        runners.append(lane(project))
        runners[-1].prepare_tables()
    threads = [threading.Thread(target=go, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for project in projects:
        project.close()
    assert sorted(type(one).__name__ for one in ended) == ["LaneLost"] * 3 + ["LaneState"]
    lake.assert_exact(place)
