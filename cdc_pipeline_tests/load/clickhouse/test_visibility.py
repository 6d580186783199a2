"""Rows that are shown by their last writes alone: never less than Cassandra shows, and what more."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import RowKind
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.schema import TableFilter
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, table
from cdc_pipeline_tests.load.clickhouse.conftest import Make
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, again
from cdc_pipeline_tests.load.clickhouse.merging import MERGES, deliver
from cdc_pipeline_tests.load.histories import NOW, histories
from cdc_pipeline_tests.load.merging import deliveries, many
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

FAST = ClickHouseOptions(fast=TableFilter(("*",)))
OF = table("t", clustering=[("ck", "int")], regular=[("v", "int"), ("w", "int"), ("m", "set<int>")])
ONE = int_bytes(1)


@given(data=st.data())
@settings(many, max_examples=12)
def test_no_row_is_hidden(loaded: Make, data: st.DataObject) -> None:
    """Whatever Cassandra shows is shown, with the same values, in any order and at any time. Without static columns,
    for a partition's row of statics alone gives way to one that is shown for longer."""
    history = data.draw(histories())
    assume(not history.table.static)
    of = again(history.table)
    with loaded(of, profile="exact", options=FAST) as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), data.draw(MERGES))
        for now in (NOW - 2, NOW, NOW + 2000):
            assert destination.compare(of, reference(of, kept).select(now), now).missing == ()


@given(data=st.data())
@settings(many, max_examples=10)
def test_inserts_and_row_deletions_are_exact(loaded: Make, data: st.DataObject) -> None:
    """Without TTLs, and without updates that make or empty rows, it is exactly what Cassandra shows."""
    history = data.draw(histories(of=data.draw(st.sampled_from([OF, table("t", regular=[("v", "int")])]))))
    plain = [insert_or_deletion(change) for change in history.changes]
    of = again(history.table)
    history = dataclasses.replace(history, changes=tuple(plain))
    with loaded(of, profile="exact", options=FAST) as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), data.draw(MERGES))
        found = destination.compare(of, reference(of, kept).select(NOW), NOW)
        assert (found.missing, found.extra) == ((), ())


def insert_or_deletion(change: Change) -> Change:
    """The change as an INSERT of all its cells, unless it deletes."""
    if change.kind != RowKind.ROW or change.deleted is not None:
        return change
    ts = change.live if change.live is not None else max(cell.ts for cell in change.cells)
    return dataclasses.replace(
        change,
        live=ts,
        live_expires=None,
        cells=tuple(dataclasses.replace(cell, expires=None) for cell in change.cells),
    )


def shown(loaded: Make, *changes: Change) -> dict[str, list[Any]]:
    """What is shown, both ways, each change in a part of its own."""
    found: dict[str, list[Any]] = {}
    for name, options in (("exact", ClickHouseOptions()), ("fast", FAST)):
        of = again(OF)
        with loaded(of, options=options) as destination:
            assert isinstance(destination, ClickHouseDestination)
            destination.deliver(of, [[change] for change in changes])
            found[name] = destination.query(f"SELECT ck, v, w, m FROM {destination.plan(of).public}", as_of=NOW)
    return found


def row(*cells: Cell, live: int | None = None, expires: int | None = None) -> Change:
    return Change((ONE,), (ONE,), cells, live=live, live_expires=expires)


def test_an_insert_that_expires_over_one_that_lasts(loaded: Make) -> None:
    """Its liveness goes, and the values of before are there still, and so is the row."""
    lasting = row(Cell("v", 5, ONE), live=5)
    found = shown(loaded, lasting, row(live=6, expires=NOW - 1))
    assert found["fast"] == found["exact"] == [(1, 1, None, [])]


def test_what_is_shown_for_longer(loaded: Make) -> None:
    """A row of updates whose values all were set to null, or were deleted with their collection, is shown without any;
    so is one whose only lasting value was overwritten by one that has expired."""
    for changes in (
        (row(Cell("v", 5, ONE)), row(Cell("v", 6, None))),
        (row(Cell("m", 5, b"", ONE)), row(Cell("m", 6, deletes=True))),
        (row(Cell("v", 5, ONE)), row(Cell("v", 6, ONE, expires=NOW - 1))),
    ):
        found = shown(loaded, *changes)
        assert (found["exact"], found["fast"]) == ([], [(1, None, None, [])])


def test_another_choice_is_shown_at_once(ch_database: ChDatabase) -> None:
    """What is chosen otherwise at the next start, `fast` or not, is what users see from then on, either way."""
    for options, rows in ((ClickHouseOptions(), 0), (FAST, 1), (ClickHouseOptions(), 0), (FAST, 1)):
        with ClickHouseDestination("", (OF,), place=ch_database, options=options).prepare() as destination:
            destination.deliver(OF, [[row(Cell("v", 5, ONE))], [row(Cell("v", 6, None))]])
            assert destination.query("SELECT count() FROM {p}ks.t") == [(rows,)]
