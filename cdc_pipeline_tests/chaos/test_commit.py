"""A connection that is cut around a COMMIT: whether it was done or not, every change counts once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline_tests.chaos.proxy import Cut, Proxy
from cdc_pipeline_tests.chaos.workload import Site
from cdc_pipeline_tests.integration.workspace import drained

MakeDatabase = Callable[[], str]


@pytest.mark.parametrize("cut", Cut, ids=[one.name for one in Cut])
def test_cut_at_every_other_commit(site: Site, make_pg_database: MakeDatabase, cut: Cut) -> None:
    """Every second COMMIT is cut, those of preparing and of the claim too; the lane goes on each time."""
    conninfo = make_pg_database()
    every = 2 if cut is not Cut.LATE else 5
    with Proxy(conninfo, lambda number: cut if number % every == 0 else None) as proxy:
        with site.workspace(proxy.conninfo).project() as project:
            runner = drained(project)
        assert len(proxy.cuts) >= 20
    assert runner.held.events_processed == site.changes
    with site.workspace(conninfo).project() as project:
        site.assert_exact(project, conninfo, make_pg_database)


def test_a_lost_reply_is_no_lost_lane(site: Site, make_pg_database: MakeDatabase) -> None:
    """The writer whose reply was lost finds its own commit, and goes on under the same epoch."""
    conninfo = make_pg_database()
    armed: list[Cut] = []
    states = []
    with Proxy(conninfo, lambda _: armed.pop() if armed else None) as proxy:
        with site.workspace(proxy.conninfo).project() as project:
            (lane,) = project.lanes()
            runner = project.lane(lane)
            runner.open("one")

            def committed(runner: LaneRunner) -> None:
                states.append(runner.held)
                armed.append(Cut.REPLY)

            runner.on_commit = committed
            runner.drain()
        assert len(proxy.cuts) >= len(states) - 1
    assert {state.epoch for state in states} == {1}
    assert runner.held.events_processed == site.changes
