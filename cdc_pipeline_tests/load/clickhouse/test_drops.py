"""What follows when Cassandra drops a column or a table: hidden or shown on, kept or removed, as the user chose."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from cdc_pipeline.load import Truncation
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskingPolicy, TableMasks
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, batch
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.destination import LANE, UNMASKED
from cdc_pipeline_tests.load.postgres.test_drops import AT, OF, ONE, without
from cdc_pipeline_tests.types.values import int_bytes

KEPT, REMOVED = ClickHouseOptions(keep_columns=True), ClickHouseOptions(drop_tables=True)

ALL = ["ks.t", "ks.t:ranges", "ks.t:rows", "ks.t:static", "ks.t:statics", "t"]
"""Tables of the state, views over them, and the view that users read."""

There = Callable[[ClickHouseOptions], ClickHouseDestination]


@pytest.fixture
def there(ch_database: ChDatabase) -> Iterator[There]:
    """A function that gives a destination with a choice; one row is loaded before anything is dropped."""
    made: list[ClickHouseDestination] = []

    def prepared(options: ClickHouseOptions) -> ClickHouseDestination:
        one = ClickHouseDestination("", (OF,), place=ch_database, options=options).prepare()
        made.append(one)
        cells = (Cell("v", 5, b"x"), Cell("m", 5, b"", path=int_bytes(3)), Cell("left", 5, ONE))
        row = Change((ONE,), (int_bytes(2),), cells=cells, live=5)
        one.load(batch(OF, [row, Change((ONE,), kind=1, cells=(Cell("s", 5, int_bytes(4)),))]))
        return one

    yield prepared
    for one in made:
        one.sink.close()


def alter(destination: ClickHouseDestination, of: Table) -> None:
    """The lane comes to a place where the table is another."""
    destination.sink.prepare([(of, TableMasks(MaskingPolicy(UNMASKED, None), of))])


def drop(destination: ClickHouseDestination, of: Table) -> None:
    """The lane comes to `DROP TABLE`."""
    destination.sink.load(LANE, [], [], AT, [Truncation(of, 0, dropped=True)])


def seen(destination: ClickHouseDestination) -> list[dict[str, Any]]:
    """The view's rows by column name."""
    with closing(destination.place.client()) as client:
        return list(client.query(f"SELECT * FROM {destination.place.prefix}ks.t").named_results())


def relations(destination: ClickHouseDestination) -> list[str]:
    """Tables of the state and views of `ks.t`, without the table's id."""
    query = "SELECT name FROM system.tables WHERE startsWith(database, '{p}') AND name LIKE '%t%' ORDER BY name"
    names = [name for (name,) in destination.query(query) if name == "t" or name.startswith("ks.t")]
    return [name.partition("#")[0] + name.partition("#")[2][12:] for name in names]


def later(destination: ClickHouseDestination, of: Table, options: ClickHouseOptions) -> ClickHouseDestination:
    """Another process over the same place."""
    return ClickHouseDestination("", (of,), place=destination.place, options=options).prepare()


def test_a_dropped_column_is_hidden(there: There) -> None:
    """Unless something else was chosen, the view shows what Cassandra shows."""
    destination = there(ClickHouseOptions())
    alter(destination, without(OF, "v", "s"))
    assert seen(destination) == [{"id": 1, "c": 2, "left": 1, "m": [3]}]


@pytest.mark.parametrize("names", [("v",), ("m",), ("s",), ("v", "m", "s")], ids=str)
def test_a_dropped_column_is_shown_on(there: There, names: Sequence[str]) -> None:
    """With what it held, simple, collection and static ones; new rows have nothing there."""
    destination = there(KEPT)
    now = without(OF, *names)
    if names == ("s",):  # the last static column: no row of the partition is kept any more
        now = dataclasses.replace(now, columns=(*now.columns, dataclasses.replace(OF.static[0], name="s2")))
    alter(destination, now)
    expected = {"id": 1, "c": 2, "left": 1, "v": "x", "m": [3], "s": 4, **({"s2": None} if names == ("s",) else {})}
    if names == ("v", "m", "s"):
        del expected["s"]
    assert seen(destination) == [expected]


def test_rows_do_not_live_by_what_was_dropped(there: There) -> None:
    """A row without liveness whose last column was dropped is none in Cassandra, and none here."""
    destination = there(KEPT)
    destination.load(batch(OF, [Change((ONE,), (int_bytes(9),), cells=(Cell("v", 6, b"y"),))]))
    assert len(seen(destination)) == 2
    alter(destination, without(OF, "v"))
    assert [row["c"] for row in seen(destination)] == [2]


def test_a_column_dropped_before_we_came_is_not_shown(ch_database: ChDatabase) -> None:
    """A destination has nothing of it to show."""
    now = without(OF, "v")
    with ClickHouseDestination("", (now,), place=ch_database, options=KEPT).prepare() as destination:
        destination.load(batch(now, [Change((ONE,), (ONE,), live=5)]))
        assert [sorted(row) for row in seen(destination)] == [["c", "id", "left", "m", "s"]]


@pytest.mark.parametrize("options", [ClickHouseOptions(), KEPT], ids=["hidden", "kept"])
def test_a_column_added_again_is_the_new_one(there: There, options: ClickHouseOptions) -> None:
    """One name shows one column: that which Cassandra has now; what comes late of before it does not show."""
    destination = there(options)
    gone = without(OF, "v")
    alter(destination, gone)
    again = dataclasses.replace(gone, columns=OF.columns, version=gone.version + 1)
    alter(destination, again)
    assert [row["v"] for row in seen(destination)] == [None]
    destination.load(batch(OF, [Change((ONE,), (int_bytes(2),), cells=(Cell("v", 6, b"late"),))]))
    assert [row["v"] for row in seen(destination)] == [None]


def test_columns_that_came_later(there: There) -> None:
    """Simple ones, collections and the first static one: older rows have nothing there; changes of before are taken."""
    destination = there(ClickHouseOptions())
    before = dataclasses.replace(without(OF, "v", "m", "s"), id=uuid.uuid1(), dropped=())
    after = dataclasses.replace(OF, id=before.id, version=before.version + 1)
    old = later(destination, before, ClickHouseOptions())
    old.load(batch(before, [Change((ONE,), (ONE,), (Cell("left", 1, ONE),), live=1)]))
    with later(destination, after, ClickHouseOptions()) as new:
        assert seen(new) == [{"id": 1, "c": 1, "s": None, "left": 1, "m": [], "v": None}]
        new.load(batch(after, [Change((ONE,), (ONE,), (Cell("v", 2, b"x"), Cell("m", 2, b"", ONE)))]))
        old.load(batch(before, [Change((ONE,), (ONE,), (Cell("left", 3, int_bytes(3)),))]))
        new.load(batch(after, [Change((ONE,), kind=1, cells=(Cell("s", 2, ONE),))]))
        assert seen(new) == [{"id": 1, "c": 1, "s": 1, "left": 3, "m": [1], "v": "x"}]
    old.sink.close()


def test_a_start_behind_the_drop_shows_the_same(there: There) -> None:
    """What is shown on hangs on the state, not on the process that saw the drop."""
    destination = there(KEPT)
    now = without(OF, "v")
    alter(destination, now)
    with later(destination, now, KEPT) as again:
        assert [row["v"] for row in seen(again)] == ["x"]
    with later(destination, now, ClickHouseOptions()) as other:
        assert ["v" in row for row in seen(other)] == [False]


def test_a_dropped_table_is_kept(there: There) -> None:
    """Unless something else was chosen, view and rows stay."""
    destination = there(ClickHouseOptions())
    drop(destination, OF)
    assert len(seen(destination)) == 1


def test_a_dropped_table_is_removed(there: There) -> None:
    """View, rows, static rows and ledger go, as often as the place is passed."""
    destination = there(REMOVED)
    assert relations(destination) == ALL
    for _ in range(2):
        drop(destination, OF)
        assert relations(destination) == []


def test_a_lane_that_is_behind_shows_nobody_a_dropped_table(there: There) -> None:
    """Its changes are taken and counted, nobody sees them, and at its own place of the drop they go."""
    destination = there(REMOVED)
    drop(destination, OF)
    with later(destination, OF, REMOVED) as behind:
        behind.load(batch(OF, [Change((ONE,), (ONE,), live=6)]))
        assert "t" not in relations(behind)
        drop(behind, OF)
        assert relations(behind) == []


def test_a_younger_table_of_the_name_stays(there: There) -> None:
    """DROP and CREATE: the view is the new table's, whenever the old one's rows go."""
    destination = there(REMOVED)
    alter(destination, dataclasses.replace(OF, id=uuid.uuid1()))
    drop(destination, OF)
    assert seen(destination) == []
    assert relations(destination) == ALL


@pytest.mark.parametrize("first", ["the old one", "the new one"])
def test_ids_tell_which_table_is_the_newest(there: There, first: str) -> None:
    """A lane that stands before DROP and CREATE, and is started last, does not bring the old table back."""
    old, new = (dataclasses.replace(OF, id=uuid.uuid1()) for _ in range(2))
    destination = there(ClickHouseOptions())
    for one in (old, new) if first == "the old one" else (new, old):
        later(destination, one, ClickHouseOptions()).sink.close()
    with later(destination, new, ClickHouseOptions()) as lane:
        lane.load(batch(new, [Change((ONE,), (int_bytes(8),), live=9)]))
        assert [row["c"] for row in seen(lane)] == [8]
