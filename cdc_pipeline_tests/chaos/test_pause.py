"""A writer that is suspended while another takes its lane, and goes on later: it writes nothing more, and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.errors import LaneLost
from cdc_pipeline_tests.chaos.child import LOST
from cdc_pipeline_tests.chaos.workload import Site
from cdc_pipeline_tests.integration.workspace import drained, lane, offset

MakeDatabase = Callable[[], str]

PAUSES = (
    ("lane open", 1),
    ("fitted", 2),
    ("before the transaction", 3),
    ("before the fence", 3),
    ("fenced", 3),
    ("before a copy", 4),
    ("copied", 4),
    ("merged, before the letters", 4),
    ("offset moved, not committed", 5),
    ("committed, not known", 5),
    ("known", 6),
)


class Paused:
    """A process that stopped itself at a step; a context manager that ends it whatever happens."""

    def __init__(self, config: object, step: str, number: int) -> None:
        command = [sys.executable, "-m", "cdc_pipeline_tests.chaos.child", str(config), step, str(number)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Paused:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self._process.pid, os.WNOHANG | os.WUNTRACED)
            if pid:
                assert os.WIFSTOPPED(status), "it ended before the step"
                return self
            time.sleep(0.01)
        raise TimeoutError

    def kill(self) -> None:
        """Ended where it is paused."""
        self._process.kill()

    def go_on(self) -> tuple[int, str]:
        """(exit code, what it said)."""
        self._process.send_signal(signal.SIGCONT)
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out + err

    def __exit__(self, *_: object) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.closed:
            self._process.kill()
            self._process.communicate(timeout=10)


@pytest.mark.parametrize(("step", "number"), PAUSES, ids=[step for step, _ in PAUSES])
def test_a_paused_writer_comes_back(site: Site, make_pg_database: MakeDatabase, step: str, number: int) -> None:
    """Its successor does not wait for it longer than a server lets it idle; what it held comes to nothing."""
    conninfo = make_pg_database()
    quick = make_conninfo(conninfo, options="-c idle_in_transaction_session_timeout=500ms")
    with Paused(site.workspace(quick).write(), step, number) as zombie:
        with site.workspace(quick, "successor").project() as project:
            began = time.monotonic()
            state = offset(drained(project))
            assert time.monotonic() - began < 20
        assert (state.events_processed, state.epoch) == (site.changes, 2)
        code, said = zombie.go_on()
    assert code == LOST, said
    assert "expected epoch 1" in said
    with site.workspace(conninfo).project() as project:
        assert offset(lane(project)) == state
        site.assert_exact(project, conninfo, make_pg_database)


def test_a_successor_says_that_it_waits(
    site: Site, make_pg_database: MakeDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """A writer that is paused in its transaction holds the lane; whoever claims it waits, and says so."""
    conninfo = make_pg_database()
    with (
        Paused(site.workspace(conninfo).write(), "fenced", 2) as zombie,
        site.workspace(conninfo, "successor").project() as project,
    ):
        timer = threading.Timer(6, zombie.kill)
        timer.start()
        state = offset(drained(project))
        timer.join()
    assert (state.events_processed, state.epoch) == (site.changes, 2)
    assert "SQLSTATE 55P03" in capsys.readouterr().out


def test_writers_that_take_over(site: Site, make_pg_database: MakeDatabase) -> None:
    """Of four writers of one lane, each begun while the others load, the last goes on and the others end."""
    conninfo = make_pg_database()
    ended: dict[int, str] = {}

    def write(number: int) -> None:
        with site.workspace(conninfo, f"writer-{number}").project() as project:
            try:
                drained(project)
                ended[number] = "drained"
            except LaneLost:
                ended[number] = "lost"

    site.workspace(conninfo).write()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join(100)
    assert "drained" in ended.values()
    assert "lost" in ended.values()
    assert len(ended) == 4
    with site.workspace(conninfo).project() as project:
        site.assert_exact(project, conninfo, make_pg_database)
