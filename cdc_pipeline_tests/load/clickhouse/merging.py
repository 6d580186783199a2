"""One place in ClickHouse for one example after the other, each in a table of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from cdc_pipeline.schema import Table
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, context
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, again
from cdc_pipeline_tests.load.histories import History
from cdc_pipeline_tests.load.merging import Delivered, Ground
from cdc_pipeline_tests.load.reference import shards

MERGES = st.sampled_from(["as it likes", "never", "at the end", "now and then"])
"""When the server merges parts."""


class ClickHouseGround(Ground[ClickHouseDestination]):
    """A place for all examples; what no type of the profile `native` holds is parked."""

    merges = MERGES
    settled = "at the end"
    whole = ("exact",)

    def __init__(self, place: ChDatabase) -> None:
        self._place = place

    def own(self, of: Table) -> Table:
        """With a name and an id of its own."""
        return again(of)

    def countable(self, history: History) -> History:
        """Each writer's clock rises with its writetimes, as a node's does."""
        risen = [dataclasses.replace(one, cells=tuple(map(with_risen_clocks, one.cells))) for one in history.changes]
        return History(history.table, tuple(risen))

    @contextmanager
    def loaded(self, of: Table, **how: Any) -> Iterator[ClickHouseDestination]:
        """The table is gone afterwards."""
        with ClickHouseDestination("", (of,), place=self._place, **how).prepare() as there:
            yield there
            there.drop(of)

    def deliver(self, there: ClickHouseDestination, of: Table, delivered: Delivered, merges: str) -> list[Change]:
        """Every other batch has its rows merged here."""
        return deliver(there, of, delivered, merges)

    def state(self, there: ClickHouseDestination, of: Table) -> list[list[str]]:
        """Every merged row of every state table."""
        return there.state(of)

    def view(self, there: ClickHouseDestination, of: Table) -> str:
        """With the place's prefix."""
        return there.plan(of).public

    def shards(self, there: ClickHouseDestination, of: Table) -> list[int]:
        """By clock, and as many by writetime."""
        found = there.query(f"SELECT length(`v:n`), length(`o:n`) FROM {there.plan(of).state}")
        assert all(by_clock == by_time for by_clock, by_time in found)
        return [by_clock for by_clock, _ in found]

    def ranges(self, there: ClickHouseDestination, of: Table) -> int:
        """A row for each."""
        ((count,),) = there.query(f"SELECT count() FROM {there.plan(of).ranges}")
        return int(count)


def with_risen_clocks(cell: Cell) -> Cell:
    """The cell with shards whose clocks are its writetime."""
    if cell.value is None:
        return cell
    risen = [(int.from_bytes(identity, "big"), cell.ts, count) for identity, _, count in shards(cell.value)]
    return dataclasses.replace(cell, value=context(*risen))


def deliver(destination: ClickHouseDestination, of: Table, delivered: Delivered, merges: str) -> list[Change]:
    """Loads, every other batch with its rows merged here, the server merging as it is told; returns the changes that
    were not parked."""
    if merges != "as it likes":
        destination.stop_merges(of)
    found: list[Change] = []
    takes = destination.sink._apart.takes  # type: ignore[attr-defined]
    for number, one in enumerate(delivered, len(delivered)):
        apart = number % 2 == 0
        destination.sink._apart.takes = lambda plan, apart=apart: takes(plan) and apart  # type: ignore[attr-defined]
        found += destination.deliver(of, [one])
        if merges == "now and then" and number % 2:
            destination.merge(of)
            destination.stop_merges(of)
    if merges == "at the end":
        destination.merge(of)
    return found
