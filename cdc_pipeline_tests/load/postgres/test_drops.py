"""What follows when Cassandra drops a column or a table: hidden or shown on, kept or removed, as the user chose."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.load import Truncation
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.schema import DroppedColumn, Table
from cdc_pipeline.transform import MaskingPolicy, TableMasks
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import LANE, UNMASKED, Destination
from cdc_pipeline_tests.types.values import int_bytes

KEPT, REMOVED = PostgresOptions(keep_columns=True), PostgresOptions(drop_tables=True)
OF = table(
    "t", key=[("id", "int")], clustering=[("c", "int")], static=[("s", "int")],
    regular=[("v", "text"), ("m", "set<int>"), ("left", "int")],
)  # fmt: skip
AT = Position("CommitLog-7-1.log", 9)
ONE = int_bytes(1)


def without(of: Table, *names: str) -> Table:
    """The table after `ALTER TABLE … DROP` of columns."""
    gone = tuple(DroppedColumn(c.name, c.kind, c.type, 7) for c in of.columns if c.name in names)
    left = tuple(column for column in of.columns if column.name not in names)
    return dataclasses.replace(of, columns=left, dropped=gone, version=of.version + 1)


@pytest.fixture
def there(pg_database: str) -> Iterator[Callable[[PostgresOptions], Destination]]:
    """A function that gives a destination with a choice; one row is loaded before anything is dropped."""
    made: list[Destination] = []

    def prepared(options: PostgresOptions) -> Destination:
        one = Destination(pg_database, (OF,), make_sink=lambda *arguments: PostgresSink(*arguments, options)).prepare()
        made.append(one)
        cells = (Cell("v", 5, b"x"), Cell("m", 5, b"", path=int_bytes(3)), Cell("left", 5, ONE))
        row = Change((ONE,), (int_bytes(2),), cells=cells, live=5)
        one.load(batch(OF, [row, Change((ONE,), kind=1, cells=(Cell("s", 5, int_bytes(4)),))]))
        return one

    yield prepared
    for one in made:
        one.sink.close()


def alter(destination: Destination, of: Table) -> None:
    """The lane comes to a place where the table is another."""
    destination.sink.prepare([(of, TableMasks(MaskingPolicy(UNMASKED, None), of))])


def drop(destination: Destination, of: Table) -> None:
    """The lane comes to `DROP TABLE`."""
    destination.sink.load(LANE, [], [], AT, [Truncation(of, 0, dropped=True)])


def seen(destination: Destination) -> list[dict[str, Any]]:
    """The view's rows by column name."""
    return [row for (row,) in destination.query("SELECT to_jsonb(t) FROM ks.t t")]


def relations(destination: Destination, like: str) -> list[str]:
    """Tables and views of these names."""
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relname LIKE %s ORDER BY 1"
    return [name for (name,) in destination.query(query, like)]


def test_a_dropped_column_is_hidden(there: Callable[[PostgresOptions], Destination]) -> None:
    """Unless something else was chosen, the view shows what Cassandra shows."""
    destination = there(PostgresOptions())
    alter(destination, without(OF, "v", "s"))
    assert seen(destination) == [{"id": 1, "c": 2, "left": 1, "m": [3]}]


@pytest.mark.parametrize("names", [("v",), ("m",), ("s",), ("v", "m", "s")], ids=str)
def test_a_dropped_column_is_shown_on(there: Callable[[PostgresOptions], Destination], names: Sequence[str]) -> None:
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


def test_rows_do_not_live_by_what_was_dropped(there: Callable[[PostgresOptions], Destination]) -> None:
    """A row without liveness whose last column was dropped is none in Cassandra, and none here."""
    destination = there(KEPT)
    destination.load(batch(OF, [Change((ONE,), (int_bytes(9),), cells=(Cell("v", 6, b"y"),))]))
    assert len(seen(destination)) == 2
    alter(destination, without(OF, "v"))
    assert [row["c"] for row in seen(destination)] == [2]


def test_a_column_dropped_before_we_came_is_not_shown(pg_database: str) -> None:
    """A destination has nothing of it to show."""
    now = without(OF, "v")
    with Destination(pg_database, (now,), make_sink=lambda *a: PostgresSink(*a, KEPT)).prepare() as destination:
        destination.load(batch(now, [Change((ONE,), (ONE,), live=5)]))
        assert [sorted(row) for row in seen(destination)] == [["c", "id", "left", "m", "s"]]


def test_a_column_added_again_is_the_new_one(there: Callable[[PostgresOptions], Destination]) -> None:
    """One name shows one column: that which Cassandra has now."""
    destination = there(KEPT)
    gone = without(OF, "v")
    alter(destination, gone)
    again = dataclasses.replace(gone, columns=OF.columns, version=gone.version + 1)
    alter(destination, again)
    assert [row["v"] for row in seen(destination)] == [None]


def test_a_start_behind_the_drop_shows_the_same(there: Callable[[PostgresOptions], Destination]) -> None:
    """What is shown on hangs on the state, not on the process that saw the drop."""
    destination = there(KEPT)
    now = without(OF, "v")
    alter(destination, now)
    with Destination(destination.conninfo, (now,), make_sink=lambda *a: PostgresSink(*a, KEPT)).prepare() as later:
        assert [row["v"] for row in seen(later)] == ["x"]
    with Destination(destination.conninfo, (now,)).prepare() as other:
        assert ["v" in row for row in seen(other)] == [False]


def test_a_dropped_table_is_kept(there: Callable[[PostgresOptions], Destination]) -> None:
    """Unless something else was chosen, view and rows stay."""
    destination = there(PostgresOptions())
    drop(destination, OF)
    assert len(seen(destination)) == 1


def test_a_dropped_table_is_removed(there: Callable[[PostgresOptions], Destination]) -> None:
    """View, rows, static rows and ledger go, as often as the place is passed."""
    destination = there(REMOVED)
    for _ in range(2):
        drop(destination, OF)
        assert relations(destination, "%t%:%") + relations(destination, "t") == []
    assert relations(destination, "ks.t%") == []


def test_a_lane_that_is_behind_shows_nobody_a_dropped_table(
    there: Callable[[PostgresOptions], Destination],
) -> None:
    """Its changes are taken and counted, nobody sees them, and at its own place of the drop they go."""
    destination = there(REMOVED)
    drop(destination, OF)
    with Destination(destination.conninfo, (OF,), make_sink=lambda *a: PostgresSink(*a, REMOVED)).prepare() as behind:
        behind.load(batch(OF, [Change((ONE,), (ONE,), live=6)]))
        assert relations(behind, "t") == []
        drop(behind, OF)
        assert relations(behind, "ks.t%") == []


def test_a_younger_table_of_the_name_stays(there: Callable[[PostgresOptions], Destination]) -> None:
    """DROP and CREATE: the view is the new table's, whenever the old one's rows go."""
    destination = there(REMOVED)
    again = dataclasses.replace(OF, id=uuid.uuid1())
    alter(destination, again)
    drop(destination, OF)
    assert seen(destination) == []
    assert relations(destination, "ks.t%") == ["ks.t#2", "ks.t#2:ranges", "ks.t#2:static"]


def test_what_somebody_depends_on_stays(
    there: Callable[[PostgresOptions], Destination], capsys: pytest.CaptureFixture[str]
) -> None:
    """A view of the user's own on ours keeps the table, and the log says so; loading goes on."""
    destination = there(REMOVED)
    with psycopg.connect(destination.conninfo, autocommit=True) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT id FROM ks.t")
    drop(destination, OF)
    assert destination.query("SELECT * FROM public.mine") == [(1,)]
