"""The canary finds a server that merges wrongly, and the views do without `FINAL` there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.load.clickhouse import canary, shared, view
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, address_of, again
from cdc_pipeline_tests.load.histories import NOW, histories
from cdc_pipeline_tests.load.reference import reference


@pytest.fixture
def options(ch_database: ChDatabase) -> ClickHouseOptions:
    """A state database of its own."""
    return ClickHouseOptions(state_database=f"{ch_database.prefix}cdc", prefix=ch_database.prefix)


@pytest.fixture
def connection(ch_database: ChDatabase, options: ClickHouseOptions) -> Iterator[Connection]:
    """A connection to a place with the shared tables."""
    with closing(Connection(address_of(ch_database))) as made:
        for statement in shared.statements(options):
            made.run(statement)
        yield made


def naive(plan: TablePlan) -> list[view.View]:
    """The view that everybody would write first: elements of tuples under FINAL."""
    shown = f"SELECT `p0` AS id, `v:a`.b AS a, `v:b`.b AS b FROM {plan.state} FINAL WHERE `r:l`.w > `r:d`"
    return [view.View(plan.state_database, plan.table.name, shown)]


def test_finds_what_goes_wrong(connection: Connection, options: ClickHouseOptions) -> None:
    """Our views are right, with FINAL and without; the naive one is wrong on this very server."""
    assert canary.is_right(connection, options, view.views)
    assert canary.is_right(connection, options, partial(view.views, merged=False))
    assert not canary.is_right(connection, options, naive)
    left = connection.rows(
        "SELECT name FROM system.tables WHERE database = {name:String} AND name LIKE '%canary%'",
        {"name": options.state_database},
    )
    assert list(left) == []


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_views_without_final_answer_too(ch_server: object, data: st.DataObject) -> None:
    """Where a server fails the canary, views by GROUP BY equal the reference."""
    with place(ch_server) as where, pytest.MonkeyPatch.context() as patch:
        patch.setattr(canary, "merges_finally", lambda *_: False)
        history = data.draw(histories())
        of = again(history.table)
        with ClickHouseDestination("", (of,), place=where, profile="exact").prepare() as destination:
            destination.stop_merges(of)
            for change in history.changes:
                destination.deliver(of, [[change]])
            assert "GROUP BY" in destination.query_of_rows(of)
            parity = destination.compare(of, reference(of, history.changes).select(NOW), NOW)
            assert (parity.missing, parity.extra) == ((), ())


@contextmanager
def place(server: object) -> Iterator[ChDatabase]:
    """A place for one example."""
    make: Callable[[], ChDatabase] = server.place  # type: ignore[attr-defined]
    where = make()
    yield where
    where.drop()
