"""A server that is killed, stops or crashes while a lane loads, and comes back: all is there, and counted once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.errors import OffsetConflict
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline_tests.chaos.workload import Site
from cdc_pipeline_tests.integration.workspace import lane, offset

MakeDatabase = Callable[[], str]

SIGNALS = {"killed": signal.SIGKILL, "immediate": signal.SIGQUIT, "fast": signal.SIGINT}


class Server:
    """A durable server of our own that can be ended and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.embedded = EmbeddedPostgres(directory).start()

    def end(self, number: signal.Signals) -> None:
        """A signal to the postmaster; returns when nobody answers any more."""
        os.kill(int((self.directory / "ready").read_text()), number)
        deadline = time.monotonic() + 20
        while (self.directory / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def again(self) -> None:
        """Started, crash recovery included."""
        self.embedded.start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server, stopped at the end."""
    one = Server(tmp_path / "postgres")
    yield one
    one.embedded.start()
    one.embedded.stop()


@pytest.mark.parametrize("how", SIGNALS)
def test_a_server_that_ends_in_the_middle(site: Site, server: Server, make_pg_database: MakeDatabase, how: str) -> None:
    """Killed or shut down three times while a lane loads, and away for a while: the lane waits, and nothing is parked
    for it."""
    conninfo = server.embedded.create_database("warehouse")
    retry = {"attempts": 200, "wait": 0.05, "max_wait": 0.2}
    with site.workspace(conninfo, retry=retry).project() as project:
        runner = lane(project)
        seen: list[int] = []
        helpers: list[threading.Thread] = []

        def committed(runner: LaneRunner) -> None:
            seen.append(runner.held.events_processed)
            if len(seen) in (5, 15, 30):
                helpers.append(threading.Thread(target=end_and_start))
                helpers[-1].start()
                if len(seen) != 15:
                    helpers[-1].join(0.05)  # some die in the middle of the next micro-batch

        def end_and_start() -> None:
            server.end(SIGNALS[how])
            time.sleep(0.2)
            server.again()

        runner.open("chaos")
        runner.on_commit = committed
        runner.drain()
        for helper in helpers:
            helper.join(60)
        assert seen == sorted(set(seen))
        assert runner.held.events_processed == site.changes
        assert set(runner.result.parked) == {"VALUE_OUT_OF_RANGE"}
        site.assert_exact(project, conninfo, make_pg_database)


def test_commits_that_a_crash_takes_back(site: Site, server: Server, make_pg_database: MakeDatabase) -> None:
    """With `synchronous_commit=off` a crash takes the last commits back, rows and offset together: the lane sees that
    the destination went back, and what it loads again from there is exact."""
    conninfo = server.embedded.create_database("warehouse")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
        connection.execute("SELECT pg_reload_conf()")
    with site.workspace(conninfo).project() as project:
        runner = lane(project)
        runner.open("careful")
        runner.drain(_after(3))
    careless = make_conninfo(conninfo, options="-c synchronous_commit=off")
    with site.workspace(careless).project() as project:
        runner = lane(project)
        runner.open("careless")
        runner.drain(_after(12))
        known = runner.held
        server.end(signal.SIGKILL)
        server.again()
        runner.sink.close()
        found = offset(runner)
        assert (found.position, found.epoch) < (known.position, known.epoch)
        assert found.events_processed < known.events_processed
        with pytest.raises(OffsetConflict, match="the destination went back"):
            runner.drain()
        runner.open("again")
        runner.drain()
        site.assert_exact(project, careless, make_pg_database)


def _after(commits: int) -> Callable[[], bool]:
    """Asks to stop after so many micro-batches."""
    left = iter(range(commits - 1))
    return lambda: next(left, None) is None
