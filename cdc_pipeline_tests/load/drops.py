"""What follows at every destination when Cassandra drops a column or a table: a class of tests that each one's own test
module inherits."""

from __future__ import annotations

import dataclasses
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.load import Truncation
from cdc_pipeline.schema import DroppedColumn, Table
from cdc_pipeline.transform import MaskingPolicy, TableMasks
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import LANE, UNMASKED, Destination
from cdc_pipeline_tests.types.values import int_bytes

OF = table(
    "t", key=[("id", "int")], clustering=[("c", "int")], static=[("s", "int")],
    regular=[("v", "text"), ("m", "set<int>"), ("left", "int")],
)  # fmt: skip
AT = Position("CommitLog-7-1.log", 9)
ONE = int_bytes(1)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a user chose: dropped columns are shown on; what a dropped table held is removed."""

    keep_columns: bool = False
    drop_tables: bool = False


HIDDEN, KEPT, REMOVED = Choice(), Choice(keep_columns=True), Choice(drop_tables=True)


class Place(ABC):
    """A fresh database of the destination under test. `everything` is what `relations` finds of one table,
    `no_elements` what the view shows of a collection without any."""

    everything: tuple[str, ...]
    no_elements: ClassVar[list[Any] | None]

    @abstractmethod
    def destination(self, of: Table, choice: Choice) -> Destination:
        """One more process over it, which has prepared the table."""

    @abstractmethod
    def seen(self) -> list[dict[str, Any]]:
        """The rows of the view of `ks.t` by column name."""

    @abstractmethod
    def relations(self) -> tuple[str, ...]:
        """Tables of the state and views of `ks.t`, sorted, without what tells two tables of the name apart."""


There = Callable[[Choice], Destination]


def without(of: Table, *names: str) -> Table:
    """The table after `ALTER TABLE … DROP` of columns."""
    gone = tuple(DroppedColumn(c.name, c.kind, c.type, 7) for c in of.columns if c.name in names)
    left = tuple(column for column in of.columns if column.name not in names)
    return dataclasses.replace(of, columns=left, dropped=gone, version=of.version + 1)


def alter(destination: Destination, of: Table) -> None:
    """The lane comes to a place where the table is another."""
    destination.sink.prepare([(of, TableMasks(MaskingPolicy(UNMASKED, None), of))])


def drop(destination: Destination, of: Table) -> None:
    """The lane comes to `DROP TABLE`."""
    destination.sink.load(LANE, [], [], AT, [Truncation(of, 0, dropped=True)])


class DropsContract:
    """Inherit, and give the fixture `place`."""

    @pytest.fixture
    def there(self, place: Place) -> Iterator[There]:
        """A function that gives a destination with a choice; one row is loaded before anything is dropped."""
        made: list[Destination] = []

        def prepared(choice: Choice) -> Destination:
            one = place.destination(OF, choice)
            made.append(one)
            cells = (Cell("v", 5, b"x"), Cell("m", 5, b"", path=int_bytes(3)), Cell("left", 5, ONE))
            row = Change((ONE,), (int_bytes(2),), cells=cells, live=5)
            one.load(batch(OF, [row, Change((ONE,), kind=1, cells=(Cell("s", 5, int_bytes(4)),))]))
            return one

        yield prepared
        for one in made:
            one.sink.close()

    # --- columns ---------------------------------------------------------------------------------------------------

    def test_a_dropped_column_is_hidden(self, place: Place, there: There) -> None:
        """Unless something else was chosen, the view shows what Cassandra shows."""
        alter(there(HIDDEN), without(OF, "v", "s"))
        assert place.seen() == [{"id": 1, "c": 2, "left": 1, "m": [3]}]

    @pytest.mark.parametrize("names", [("v",), ("m",), ("s",), ("v", "m", "s")], ids=str)
    def test_a_dropped_column_is_shown_on(self, place: Place, there: There, names: Sequence[str]) -> None:
        """With what it held, simple, collection and static ones; new rows have nothing there."""
        now = without(OF, *names)
        expected = {"id": 1, "c": 2, "left": 1, "v": "x", "m": [3], "s": 4}
        if names == ("s",):  # the last static column: no row of the partition is kept any more
            now = dataclasses.replace(now, columns=(*now.columns, dataclasses.replace(OF.static[0], name="s2")))
            expected["s2"] = None
        if names == ("v", "m", "s"):
            del expected["s"]
        alter(there(KEPT), now)
        assert place.seen() == [expected]

    def test_rows_do_not_live_by_what_was_dropped(self, place: Place, there: There) -> None:
        """A row without liveness whose last column was dropped is none in Cassandra, and none here."""
        destination = there(KEPT)
        destination.load(batch(OF, [Change((ONE,), (int_bytes(9),), cells=(Cell("v", 6, b"y"),))]))
        assert len(place.seen()) == 2
        alter(destination, without(OF, "v"))
        assert [row["c"] for row in place.seen()] == [2]

    def test_a_column_dropped_before_we_came_is_not_shown(self, place: Place) -> None:
        """A destination has nothing of it to show."""
        now = without(OF, "v")
        with place.destination(now, KEPT) as destination:
            destination.load(batch(now, [Change((ONE,), (ONE,), live=5)]))
            assert [sorted(row) for row in place.seen()] == [["c", "id", "left", "m", "s"]]

    @pytest.mark.parametrize("choice", [HIDDEN, KEPT], ids=["hidden", "kept"])
    def test_a_column_added_again_is_the_new_one(self, place: Place, there: There, choice: Choice) -> None:
        """One name shows one column: that which Cassandra has now; what comes late of before it does not show."""
        destination = there(choice)
        gone = without(OF, "v")
        alter(destination, gone)
        alter(destination, dataclasses.replace(gone, columns=OF.columns, version=gone.version + 1))
        assert [row["v"] for row in place.seen()] == [None]
        destination.load(batch(OF, [Change((ONE,), (int_bytes(2),), cells=(Cell("v", 6, b"late"),))]))
        assert [row["v"] for row in place.seen()] == [None]

    def test_columns_that_came_later(self, place: Place) -> None:
        """Simple ones, collections and the first static one: older rows have nothing there; changes of before are
        taken."""
        before = dataclasses.replace(without(OF, "v", "m", "s"), id=uuid.uuid1(), dropped=())
        after = dataclasses.replace(OF, id=before.id, version=before.version + 1)
        with place.destination(before, HIDDEN) as old:
            old.load(batch(before, [Change((ONE,), (ONE,), (Cell("left", 1, ONE),), live=1)]))
            with place.destination(after, HIDDEN) as new:
                expected = {"id": 1, "c": 1, "s": None, "left": 1, "m": place.no_elements, "v": None}
                assert place.seen() == [expected]
                new.load(batch(after, [Change((ONE,), (ONE,), (Cell("v", 2, b"x"), Cell("m", 2, b"", ONE)))]))
                old.load(batch(before, [Change((ONE,), (ONE,), (Cell("left", 3, int_bytes(3)),))]))
                new.load(batch(after, [Change((ONE,), kind=1, cells=(Cell("s", 2, ONE),))]))
                assert place.seen() == [{"id": 1, "c": 1, "s": 1, "left": 3, "m": [1], "v": "x"}]

    def test_a_start_behind_the_drop_shows_the_same(self, place: Place, there: There) -> None:
        """What is shown on hangs on the state, not on the process that saw the drop."""
        now = without(OF, "v")
        alter(there(KEPT), now)
        with place.destination(now, KEPT):
            assert [row["v"] for row in place.seen()] == ["x"]
        with place.destination(now, HIDDEN):
            assert ["v" in row for row in place.seen()] == [False]

    # --- tables ----------------------------------------------------------------------------------------------------

    def test_a_dropped_table_is_kept(self, place: Place, there: There) -> None:
        """Unless something else was chosen, view and rows stay."""
        drop(there(HIDDEN), OF)
        assert len(place.seen()) == 1
        assert place.relations() == place.everything

    def test_a_dropped_table_is_removed(self, place: Place, there: There) -> None:
        """View, rows, static rows and ledger go, as often as the place is passed."""
        destination = there(REMOVED)
        assert place.relations() == place.everything
        for _ in range(2):
            drop(destination, OF)
            assert place.relations() == ()

    def test_a_lane_that_is_behind_shows_nobody_a_dropped_table(self, place: Place, there: There) -> None:
        """Its changes are taken and counted, nobody sees them, and at its own place of the drop they go."""
        drop(there(REMOVED), OF)
        with place.destination(OF, REMOVED) as behind:
            assert behind.load(batch(OF, [Change((ONE,), (ONE,), live=6)])) == []
            assert "t" not in place.relations()
            drop(behind, OF)
            assert place.relations() == ()

    def test_a_younger_table_of_the_name_stays(self, place: Place, there: There) -> None:
        """DROP and CREATE: the view is the new table's, whenever the old one's rows go."""
        destination = there(REMOVED)
        again = dataclasses.replace(OF, id=uuid.uuid1())
        alter(destination, again)
        drop(destination, OF)
        assert place.seen() == []
        assert place.relations() == place.everything
        with place.destination(again, REMOVED) as lane:
            lane.load(batch(again, [Change((ONE,), (int_bytes(8),), live=9)]))
            assert [row["c"] for row in place.seen()] == [8]

    @pytest.mark.parametrize("first", ["the old one", "the new one"])
    def test_ids_tell_which_table_is_the_newest(self, place: Place, there: There, first: str) -> None:
        """A lane that stands before DROP and CREATE, and is started last, does not bring the old table back."""
        old, new = (dataclasses.replace(OF, id=uuid.uuid1()) for _ in range(2))
        there(HIDDEN)
        for one in (old, new) if first == "the old one" else (new, old):
            place.destination(one, HIDDEN).sink.close()
        with place.destination(new, HIDDEN) as lane:
            lane.load(batch(new, [Change((ONE,), (int_bytes(8),), live=9)]))
            assert [row["c"] for row in place.seen()] == [8]
