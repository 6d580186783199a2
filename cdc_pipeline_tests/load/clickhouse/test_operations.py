"""Each operation of Cassandra by itself, its changes in every order and each twice: what `SELECT` answers."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import pytest

from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Change, batch
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.histories import NOW
from cdc_pipeline_tests.load.postgres.test_operations import OF, OPERATIONS, Rows
from cdc_pipeline_tests.types.values import int_bytes

EMPTY: dict[str, Any] = {"l": [], "m": {}, "st": [], "f": [], "ve": []}
"""What Cassandra has no value of, where ClickHouse has no NULL."""


@pytest.fixture(params=["in parts", "merged"])
def there(request: pytest.FixtureRequest, ch_database: ChDatabase) -> Any:
    """A function that loads changes as they follow each other, and shows the rows behind them."""

    def load(batches: list[list[Change]]) -> list[tuple[int, dict[str, Any]]]:
        with ClickHouseDestination("", (OF,), place=ch_database).prepare() as destination:
            destination.stop_merges(OF)
            for one in batches:
                assert destination.load(batch(OF, one)) == []
            if request.param == "merged":
                destination.merge(OF)
            columns = [column.name for column in OF.columns]
            found = destination.query("SELECT * FROM {p}ks.t ORDER BY pk, ck NULLS LAST", as_of=NOW)
            return [(row[0], dict(zip(columns[1:], row[1:], strict=True))) for row in found]

    return load


ORDERS = 60
"""Of the orders of an operation's changes, at most so many; each has a partition of its own."""


def test_every_order_of_every_operation(there: Any) -> None:
    """Whatever order its changes come in, in one batch or many, and however often, an operation has one answer."""
    placed: list[list[Change]] = []
    together: list[Change] = []
    wanted: dict[int, tuple[str, Rows]] = {}
    for name, (changes, expected) in OPERATIONS.items():
        for order in list(itertools.permutations(changes))[:ORDERS]:
            wanted[len(wanted)] = (name, expected)
            placed.append([dataclasses.replace(one, key=(int_bytes(len(wanted) - 1),)) for one in order])
        wanted[len(wanted)] = (f"{name}, at once", expected)
        together += [dataclasses.replace(one, key=(int_bytes(len(wanted) - 1),)) for one in (*changes, *changes)]
        placed.append([])
    longest = max(map(len, placed))
    batches = [[order[at] for order in placed if at < len(order)] for at in (*range(longest), *range(longest))]
    found = there([*batches, together])
    for number, (name, expected) in wanted.items():
        rows = [row for pk, row in found if pk == number]
        assert rows == [shown(row) for row in expected], name


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `OPERATIONS` as ClickHouse shows it: `Array` and `Map` have no NULL, other parts are JSON."""
    whole = {column.name: EMPTY.get(column.name) for column in OF.columns if column.name != "pk"} | row
    for name in ("u", "tu"):
        if whole[name] is not None:
            whole[name] = json.dumps(whole[name])
    return whole


@pytest.mark.parametrize("name", ["expired", "not expired yet"])
def test_the_clock_of_a_query(ch_database: ChDatabase, name: str) -> None:
    """Without a setting of its own a query's clock is the server's; `log_comment` moves it, to the second."""
    changes, _ = OPERATIONS[name]
    with ClickHouseDestination("", (OF,), place=ch_database).prepare() as destination:
        destination.load(batch(OF, changes_of_one(changes)))
        gone = NOW if name == "expired" else NOW + 1
        for as_of, rows in ((gone - 1, 1), (gone, 0)):
            assert destination.query("SELECT count() FROM {p}ks.t", as_of=as_of) == [(rows,)]
        assert destination.query("SELECT count() FROM {p}ks.t") == [(0,)]


def changes_of_one(changes: list[Change]) -> list[Change]:
    """Changes of one partition."""
    return [dataclasses.replace(change, key=(int_bytes(1),)) for change in changes]
