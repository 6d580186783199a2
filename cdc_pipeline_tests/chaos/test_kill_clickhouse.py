"""SIGKILL between any two statements to ClickHouse, and requests that are cut: the same end state, each change once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline_tests.chaos.child import CLICKHOUSE_STEPS
from cdc_pipeline_tests.chaos.proxy import Cut, TcpProxy
from cdc_pipeline_tests.chaos.test_kill import killed
from cdc_pipeline_tests.chaos.workload import Site, make_site
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.integration.stores import ClickHouseStore
from cdc_pipeline_tests.integration.workspace import Workspace, drained, offset
from cdc_pipeline_tests.load.clickhouse.destination import state_of

ONCE = {"before ClickHouse's tables", "ClickHouse's tables prepared", "before claiming", "claimed"}
MILLISECONDS = (60, 150, 250)

Make = Callable[[], ChDatabase]


def workspace(site: Site, place: ChDatabase, name: str = "project", port: int | None = None) -> Workspace:
    """A project that loads the site into a place, perhaps through another port."""
    store = ClickHouseStore(place)
    there = site.workspace(f"http://{place.host}:{port or place.port}", name)
    there.destination = store.destination | {"batch": {"rows": 30}}
    return there


def assert_exact(site: Site, place: ChDatabase, make_ch_database: Make) -> None:
    """A lane that was interrupted has counted each change once, and left what an uninterrupted one leaves."""
    with workspace(site, place).project() as project:
        runner = drained(project)
        assert runner.result.problems == []
        whole = make_ch_database()
        with workspace(site, whole, "whole").project() as another:
            uninterrupted = drained(another)
            assert offset(runner).position == offset(uninterrupted).position
            assert offset(runner).events_processed == offset(uninterrupted).events_processed == site.changes
        assert state_of(place) == state_of(whole)


def test_killed_at_every_step(site: Site, make_ch_database: Make) -> None:
    """Deaths at each step, some later, and at odd moments, end as if there had been none."""
    place = make_ch_database()
    kills = [(step, number) for number in (1, 2) for step in CLICKHOUSE_STEPS if number == 1 or step not in ONCE]
    kills += [("before an insert", number) for number in range(3, 7)] + [("inserted", number) for number in range(3, 7)]
    kills += [("milliseconds", ms) for ms in MILLISECONDS]
    ended = dict(zip(kills, killed(workspace(site, place), kills), strict=True))
    assert [kill for kill, code in ended.items() if code == 0 and kill[0] in CLICKHOUSE_STEPS and kill[1] == 1] == []
    assert sum(code == -9 for code in ended.values()) >= 25
    assert_exact(site, place, make_ch_database)


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.REPLY], ids=["before", "reply"])
def test_cut_at_every_eleventh_insert(tmp_path: Path, make_ch_database: Make, cut: Cut) -> None:
    """An INSERT that never arrives, or whose answer is lost, is sent again, with all of its micro-batch."""
    site = make_site(tmp_path, 150)
    place = make_ch_database()
    every_eleventh = lambda number: cut if number % 11 == 0 else None  # noqa: E731
    with TcpProxy((place.host, place.port), b"INSERT", every_eleventh) as proxy:
        with workspace(site, place, port=proxy.port).project() as project:
            assert drained(project).held.events_processed == site.changes
        assert len(proxy.cuts) >= 8
    assert_exact(site, place, make_ch_database)
