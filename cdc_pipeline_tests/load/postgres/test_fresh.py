"""Rows that are all new are copied straight into the state; wherever they may not be, they are merged."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from cdc_pipeline.change import RowKind
from cdc_pipeline.load.postgres import merge, write
from cdc_pipeline.load.postgres.fresh import FreshRows
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.types.values import int_bytes

OF = table("t", clustering=[("c", "int")], regular=[("v", "int")])
KEY = (int_bytes(1),)


def insert(c: int, ts: int = 5, value: int = 0) -> Change:
    """One row with liveness."""
    return Change(KEY, (int_bytes(c),), cells=(Cell("v", ts, int_bytes(value or c)),), live=ts)


@pytest.fixture
def there(pg_database: str) -> Iterator[Destination]:
    """An empty table."""
    with Destination(pg_database, (OF,)).prepare() as destination:
        yield destination


@pytest.fixture
def merged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with a word for each merge of rows."""
    found: list[str] = []
    known = merge.merge_rows

    def noted(*arguments: object, **named: object) -> str:
        found.append("merge")
        return known(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(write.merge, "merge_rows", noted)
    return found


def values(destination: Destination) -> list[tuple[int, int]]:
    """Clustering and value of the rows that users see."""
    return [(c, v) for c, v in destination.query("SELECT c, v FROM ks.t ORDER BY c")]


def test_new_rows_are_not_merged(there: Destination, merged: list[str]) -> None:
    """INSERTs of keys that are not there need no guard."""
    there.load(batch(OF, [insert(1), insert(2)]), batch(OF, [insert(3)]))
    assert values(there) == [(1, 1), (2, 2), (3, 3)]
    assert merged == []


def test_one_known_key_has_the_batch_merged(there: Destination, merged: list[str]) -> None:
    """Nothing of the try is left, and the greater writetime wins for each row."""
    there.load(batch(OF, [insert(2, ts=9, value=90)]))
    there.load(batch(OF, [insert(1), insert(2, ts=5), insert(3)]))
    assert values(there) == [(1, 1), (2, 90), (3, 3)]
    assert merged == ["merge"]


NOT_NEW = {
    "an update": [Change(KEY, (int_bytes(1),), cells=(Cell("v", 5, int_bytes(1)),))],
    "a row's deletion": [insert(1), Change(KEY, (int_bytes(2),), deleted=5)],
    "an insert and a deletion of one row": [insert(1, ts=9), Change(KEY, (int_bytes(1),), deleted=5)],
}


@pytest.mark.parametrize("changes", NOT_NEW.values(), ids=NOT_NEW)
def test_what_is_no_insert_is_merged(there: Destination, merged: list[str], changes: list[Change]) -> None:
    """Only batches of nothing but INSERTs are tried."""
    there.load(batch(OF, changes))
    assert merged == ["merge"]
    assert values(there) == [(1, 1)]


def test_a_ledger_is_asked(there: Destination, merged: list[str]) -> None:
    """Where ranges were deleted an older INSERT stays gone, and so it is merged."""
    there.load(batch(OF, [Change(KEY, kind=RowKind.PARTITION, deleted=7)]))
    there.load(batch(OF, [insert(1, ts=5), insert(2, ts=9)]))
    assert values(there) == [(2, 2)]
    assert merged == ["merge"]


def test_two_lanes_with_one_key(pg_database: str, there: Destination) -> None:
    """The second waits for the first to commit, finds its row there, and merges: both end, the greater wins."""
    with Destination(pg_database, (OF,)).prepare() as other:
        encoded = there.fit(batch(OF, [insert(1, ts=5), insert(2, ts=5)])).encoded
        connection = there.sink._open()
        with connection.transaction():
            there.sink._write(connection, [encoded])
            thread = threading.Thread(target=lambda: other.load(batch(OF, [insert(1, ts=9, value=9), insert(3)])))
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()
        thread.join(30)
        assert not thread.is_alive()
    assert values(there) == [(1, 9), (2, 2), (3, 3)]


def test_without_its_index_nothing_is_copied(there: Destination) -> None:
    """A table whose index was dropped by hand would take keys twice: the merge refuses."""
    with psycopg.connect(there.conninfo, autocommit=True) as connection:
        connection.execute('DROP INDEX cdc."ks.t:key"')
    with pytest.raises(Exception, match="SQLSTATE 42P10"):
        there.load(batch(OF, [insert(1)]))
    assert there.query('SELECT count(*) FROM cdc."ks.t"') == [(0,)]


def tries(fresh: FreshRows, outcome: Callable[[], bool], batches: int) -> list[int]:
    """The numbers of the batches that are tried."""
    found = []
    for number in range(batches):
        if fresh.worth_a_try("t"):
            found.append(number)
            (fresh.succeeded if outcome() else fresh.failed)("t")
    return found


def test_failures_make_tries_rare() -> None:
    """Each in a row doubles the pause, up to 64 batches."""
    found = tries(FreshRows(), lambda: False, 400)
    pauses = [after - before - 1 for before, after in itertools.pairwise(found)]
    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64, 64, 64]


def test_a_success_forgets_failures() -> None:
    """The next batch is tried again, and one failure pauses as the first did."""
    fresh, outcomes = FreshRows(), iter([False, False, True, True, False, True])
    assert tries(fresh, lambda: next(outcomes), 14) == [0, 3, 8, 9, 10, 13]


def test_tables_are_told_apart() -> None:
    """A table with updates does not slow another down."""
    fresh = FreshRows()
    fresh.failed("t")
    assert (fresh.worth_a_try("t"), fresh.worth_a_try("other")) == (False, True)
