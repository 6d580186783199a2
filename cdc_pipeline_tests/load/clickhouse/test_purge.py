"""What is dead goes when nothing was written there for long enough, and not before; nothing that shows ever goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.clickhouse.conftest import Make
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, again
from cdc_pipeline_tests.load.clickhouse.merging import MERGES, deliver
from cdc_pipeline_tests.load.histories import NOW, histories
from cdc_pipeline_tests.load.merging import deliveries, many
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

DAY = 86_400
SHAPE = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int"), ("m", "map<text, int>")])
KEY, ROW = (int_bytes(1),), (int_bytes(1),)
ALL = (Bound((), True), Bound((), True))
RANGE = Change(KEY, kind=RowKind.RANGE, deleted=9, bounds=ALL)


class There:
    """A prepared table and short ways with it."""

    def __init__(self, destination: ClickHouseDestination, of: Table) -> None:
        self.destination, self.of = destination, of
        self.plan = destination.plan(of)

    def load(self, *changes: Change) -> None:
        """Each a part of its own."""
        for change in changes:
            assert self.destination.load(batch(self.of, [change])) == []

    def later(self, days: float) -> None:
        """Lets days go by, as far as the state can tell."""
        moved = f"UPDATE `r:t` = `r:t` - {int(days * DAY)} WHERE 1 SETTINGS mutations_sync = 1"
        self.destination.run(*(f"ALTER TABLE {name} {moved}" for name in self.destination.state_tables(self.of)))

    def purged(self, retention: float = 10 * DAY) -> tuple[int, int]:
        """(rows, ranges) of a pass."""
        done = self.destination.sink.purge(self.of, retention)
        assert (done.stripped, done.noted) == (0, 0)
        return done.rows, done.ranges

    def shown(self) -> list[tuple[int, ...]]:
        """(ck, v) of all rows."""
        return self.destination.query(f"SELECT ck, v FROM {self.plan.public} ORDER BY ck")

    def kept(self, name: str) -> int:
        """Pieces in a state table."""
        ((count,),) = self.destination.query(f"SELECT count() FROM {name}")
        return int(count)


@pytest.fixture
def there(loaded: Make) -> Iterator[There]:
    """A prepared table."""
    of = again(SHAPE)
    with loaded(of) as destination:
        yield There(destination, of)


def value(number: int, ts: int, *, expires: int | None = None, clustering: tuple[bytes, ...] = ROW) -> Change:
    """An INSERT of `v`."""
    return Change(KEY, clustering, (Cell("v", ts, int_bytes(number), expires=expires),), live=ts, live_expires=expires)


def test_dead_rows_go_after_the_retention(there: There) -> None:
    """And not before; a late write within it stays hidden, and a row that lives is left."""
    lives = value(2, 5, clustering=(int_bytes(2),))
    there.load(value(1, 8), Change(KEY, ROW, deleted=9), value(1, 7), lives)
    there.later(9)
    assert there.purged() == (0, 0)
    there.load(value(3, 6))
    assert there.shown() == [(2, 2)]
    there.later(9)
    assert there.purged() == (0, 0)
    there.later(2)
    assert there.purged() == (1, 0)
    assert there.shown() == [(2, 2)]
    assert there.kept(there.plan.state) == 1
    assert there.purged() == (0, 0)


def test_pieces_that_hide_each_other(there: There) -> None:
    """Values and tombstones that lie crosswise in several parts go together."""
    there.load(
        Change(KEY, ROW, (Cell("v", 20, None), Cell("m", 5, int_bytes(3), b"a"))),
        Change(KEY, ROW, (Cell("v", 3, int_bytes(4)), Cell("m", 6, None, b"a"))),
    )
    assert there.shown() == []
    there.later(11)
    assert there.purged() == (1, 0)
    assert there.kept(there.plan.state) == 0


def test_ranges_go_and_what_they_covered_stays_gone(there: There) -> None:
    """A row that was written lately, or lives in part, keeps what the range took from it."""
    part = Change(KEY, ROW, (Cell("v", 5, int_bytes(1)), Cell("m", 12, int_bytes(1), b"a")))
    static = Change(KEY, kind=RowKind.STATIC, cells=(Cell("s", 5, int_bytes(1)),))
    there.load(part, static, RANGE, Change(KEY, kind=RowKind.PARTITION, deleted=8))
    there.later(11)
    there.load(value(2, 4, clustering=(int_bytes(2),)))
    before = there.shown()
    assert before == [(1, None)]
    rows, ranges = there.purged()
    assert (rows, ranges) == (1, 2)
    assert there.shown() == before
    assert there.kept(there.plan.ranges) == there.kept(there.plan.static_state) == 0
    there.later(11)
    assert there.purged() == (1, 0)
    assert there.shown() == before


def test_a_range_that_was_written_again_stays(there: There) -> None:
    """Its time begins anew, and rows it covers stay hidden."""
    there.load(RANGE)
    there.later(11)
    there.load(RANGE)
    there.purged()
    there.load(value(1, 5))
    assert there.shown() == []
    assert there.kept(there.plan.ranges) == 1


def test_expired_rows_go(there: There) -> None:
    """Once they have been expired for the retention."""
    there.load(value(1, 8, expires=NOW), value(2, 8, expires=4_000_000_000, clustering=(int_bytes(2),)))
    there.later(11)
    assert there.purged() == (1, 0)
    assert there.shown() == [(2, 2)]


def test_static_rows_go(there: There) -> None:
    """A static row without a value goes as the others do."""
    there.load(Change(KEY, kind=RowKind.STATIC, cells=(Cell("s", 5, int_bytes(1)),)))
    there.load(Change(KEY, kind=RowKind.STATIC, cells=(Cell("s", 6),)))
    there.later(11)
    assert there.purged() == (1, 0)
    assert there.kept(there.plan.static_state) == 0


def test_writes_during_a_pass_survive(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write before each mutation is kept, and nothing older rises with it."""
    there.load(value(1, 8), Change(KEY, ROW, deleted=9), value(5, 7))
    there.later(11)
    run, written = Connection.run, []

    def beside(connection: Connection, statement: str) -> None:
        if statement.startswith("ALTER TABLE") and "DELETE WHERE" in statement:
            written.append(20 + len(written))
            there.load(value(written[-1], written[-1]))
        run(connection, statement)
        assert there.shown() == [(1, written[-1])]

    monkeypatch.setattr(Connection, "run", beside)
    assert there.purged() == (0, 0)
    assert written == [20]
    assert there.shown() == [(1, 20)]


def test_optimize_merges_all_parts(there: There) -> None:
    """When it is asked for."""
    there.load(value(1, 8), value(2, 9))
    there.destination.sink.purge(there.of, 0.0, optimize=True)
    assert there.kept(there.plan.state) == 1


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]), merges=MERGES)
@settings(many, max_examples=12)
def test_nothing_that_shows_goes(loaded: Make, data: st.DataObject, profile: str, merges: str) -> None:
    """Passes over what has come, in whatever parts it lies, and all of it once more between them, change nothing."""
    history = data.draw(histories())
    of = again(history.table)
    with loaded(of, profile=profile) as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), merges)
        truth = reference(of, kept).select(NOW + 10**9)
        # a server that may not merge does not mutate either
        destination.run(*(f"SYSTEM START MERGES {name}" for name in destination.state_tables(of)))
        for again_too in data.draw(st.lists(st.booleans(), min_size=1, max_size=3)):
            destination.sink.purge(of, -60.0)
            if again_too:
                destination.deliver(of, [kept])
            parity = destination.compare(of, truth, NOW + 10**9)
            assert (parity.missing, parity.extra) == ((), ())
