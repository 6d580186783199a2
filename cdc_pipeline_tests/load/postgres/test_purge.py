"""What is dead goes when it has been seen dead for long enough, and not before; nothing that shows ever goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load import Purged
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.histories import NOW, histories
from cdc_pipeline_tests.load.merging import deliveries, many
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

DAY = 86_400.0
OF = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int"), ("m", "map<text, int>")])
PLAIN = table("p%", key=[("k%", "int")], regular=[("v%", "int")])
KEY, ROW = (int_bytes(1),), (int_bytes(1),)
ALL = (Bound((), True), Bound((), True))


@pytest.fixture
def there(pg_database: str) -> Iterator[Destination]:
    """Two prepared tables."""
    with Destination(pg_database, (OF, PLAIN)).prepare() as destination:
        yield destination


def value(number: int, ts: int, *, expires: int | None = None, clustering: tuple[bytes, ...] = ROW) -> Change:
    """An INSERT of `v`."""
    return Change(KEY, clustering, (Cell("v", ts, int_bytes(number), expires=expires),), live=ts, live_expires=expires)


def later(there: Destination, days: float) -> None:
    """Lets days go by, as far as the notes can tell."""
    with psycopg.connect(there.conninfo, autocommit=True) as connection:
        moved = f"- interval '{days} days'"
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'cdc'").fetchall()
        for (name,) in names:
            if "ks." in name:
                column = "applied" if "ranges" in name else '"r:seen"'
                connection.execute(f'UPDATE cdc."{name}" SET {column} = {column} {moved}'.encode())


def purged(there: Destination, of: Table = OF) -> tuple[int, int, int, int]:
    """(rows, ranges, trimmed, noted) of a pass with ten days of retention."""
    done: Purged = there.sink.purge(of, 10 * DAY)
    return done.rows, done.ranges, done.stripped, done.noted


def kept(there: Destination, name: str = "ks.t") -> int:
    """Rows of a state table."""
    ((count,),) = there.query(f'SELECT count(*) FROM cdc."{name}"')
    return int(count)


def test_an_old_recording_is_not_purged_at_once(there: Destination) -> None:
    """A deletion of twenty years ago that is applied now is as young as its application."""
    there.load(
        batch(OF, [value(1, 5), Change(KEY, ROW, deleted=9), Change(KEY, kind=RowKind.RANGE, deleted=9, bounds=ALL)])
    )
    assert purged(there) == (0, 0, 0, 1)
    assert purged(there) == (0, 0, 0, 0)
    later(there, 9.9)
    assert purged(there) == (0, 0, 0, 0)
    assert kept(there) == kept(there, "ks.t:ranges") == 1


def test_a_late_older_write_within_retention_stays_gone(there: Destination) -> None:
    """Until the retention is over; a write that comes then is taken for new, which is what the documents say."""
    deletion = Change(KEY, ROW, deleted=9)
    there.load(batch(OF, [value(1, 8), deletion]))
    purged(there)
    later(there, 9)
    there.load(batch(OF, [value(2, 7)]))
    assert there.query("SELECT * FROM ks.t") == []
    purged(there)
    later(there, 11)
    assert purged(there)[0] == 1
    assert kept(there) == 0
    there.load(batch(OF, [value(3, 7)]))
    assert there.query("SELECT v FROM ks.t") == [(3,)]
    there.load(batch(OF, [deletion]))
    assert there.query("SELECT v FROM ks.t") == []


def test_a_merge_begins_the_time_anew(there: Destination) -> None:
    """A row that was written or deleted again is seen dead anew before it goes."""
    there.load(batch(OF, [value(1, 8), Change(KEY, ROW, deleted=9)]))
    purged(there)
    later(there, 11)
    there.load(batch(OF, [Change(KEY, ROW, deleted=10)]))
    assert purged(there) == (0, 0, 0, 1)
    there.load(batch(OF, [value(5, 20)]))
    later(there, 11)
    assert purged(there) == (0, 0, 0, 0)
    assert there.query("SELECT v FROM ks.t") == [(5,)]


def test_ranges_outlive_the_rows_they_covered(there: Destination) -> None:
    """A range defeats late older writes until its own retention is over, whenever the rows went."""
    there.load(batch(OF, [value(1, 5)]))
    there.load(batch(OF, [Change(KEY, kind=RowKind.RANGE, deleted=9, bounds=ALL)]))
    purged(there)
    later(there, 5)
    there.load(batch(OF, [Change(KEY, kind=RowKind.RANGE, deleted=12, bounds=ALL)]))
    later(there, 6)
    assert purged(there)[:2] == (1, 0)
    there.load(batch(OF, [value(2, 11)]))
    assert there.query("SELECT * FROM ks.t") == []
    later(there, 5)
    assert purged(there)[1] == 1
    assert kept(there, "ks.t:ranges") == 0


def test_expired_rows_go(there: Destination) -> None:
    """Expiry is not logged: it counts from when a pass saw it."""
    there.load(batch(OF, [value(1, 8, expires=NOW)]))
    there.load(batch(OF, [value(2, 8, expires=4_000_000_000, clustering=(int_bytes(2),))]))
    assert purged(there) == (0, 0, 0, 1)
    later(there, 11)
    assert purged(there)[0] == 1
    assert there.query("SELECT v FROM ks.t") == [(2,)]


def test_static_rows_go(there: Destination) -> None:
    """A static row without a value goes as the others do."""
    there.load(batch(OF, [Change(KEY, kind=RowKind.STATIC, cells=(Cell("s", 5),))]))
    assert purged(there)[3] == 1
    later(there, 11)
    assert purged(there)[0] == 1
    assert kept(there, "ks.t:static") == 0


def test_dead_elements_go(there: Destination) -> None:
    """A row that shows loses the removed and expired elements of its collections, and nothing else."""
    cells = (
        Cell("m", 5, int_bytes(1), b"lives"),
        Cell("m", 5, None, b"removed"),
        Cell("m", 5, int_bytes(3), b"expired", expires=NOW),
        Cell("m", 5, int_bytes(4), b"expires later", expires=4_000_000_000),
    )
    there.load(batch(OF, [Change(KEY, ROW, cells, live=5)]))
    before = there.query("SELECT * FROM ks.t")
    assert purged(there) == (0, 0, 0, 1)
    assert there.query('SELECT cardinality("v:m") FROM cdc."ks.t"') == [(4,)]
    later(there, 11)
    assert purged(there) == (0, 0, 1, 0)
    assert there.query('SELECT cardinality("v:m") FROM cdc."ks.t"') == [(2,)]
    assert there.query("SELECT * FROM ks.t") == before


def test_names_with_percent_signs(there: Destination) -> None:
    """Names are quoted, and no placeholders."""
    there.load(batch(PLAIN, [Change(KEY, deleted=5)]))
    assert purged(there, PLAIN)[3] == 1


def test_a_column_that_this_schema_does_not_know(there: Destination) -> None:
    """What another lane, further on in its log, has written to a new column is not taken for nothing."""
    wider = table(
        "t",
        clustering=[("ck", "int")],
        static=[("s", "int")],
        regular=[("v", "int"), ("m", "map<text, int>"), ("z", "int")],
    )
    with Destination(there.conninfo, (wider,)).prepare() as ahead:
        ahead.load(batch(wider, [Change(KEY, ROW, (Cell("z", 5, int_bytes(1)),))]))
    assert purged(there) == (0, 0, 0, 0)


def test_beside_a_running_lane(there: Destination) -> None:
    """Passes without a retention, while another session writes and deletes the same rows again and again, lose nothing
    that shows and end no transaction."""
    failed: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            with Destination(there.conninfo, (OF,)).prepare() as lane:
                for ts in range(1, 120):
                    keys = [(int_bytes(n),) for n in range(40)]
                    gone = [Change(KEY, key, deleted=ts * 10) for key in keys]
                    come = [value(ts, ts * 10 + 1, clustering=key) for key in keys[:20]]
                    lane.load(batch(OF, gone), batch(OF, come))
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    rows = 0
    while not done.is_set():
        rows += there.sink.purge(OF, 0.0).rows
    thread.join(60)
    assert failed == []
    assert rows > 0
    assert there.query("SELECT ck, v FROM ks.t ORDER BY 1") == [(n, 119) for n in range(20)]


@given(data=st.data())
@settings(many, max_examples=25)
def test_nothing_that_shows_goes(new_database: Callable[[], str], data: st.DataObject) -> None:
    """After any history, and passes without a retention in between that follow the log's order, the view is right."""
    history = data.draw(histories())
    with Destination(new_database(), (history.table,)).prepare() as destination:
        for changes in data.draw(deliveries(history)):
            destination.load(batch(history.table, changes))
        state = reference(history.table, history.changes)
        for _ in range(3):
            destination.sink.purge(history.table, 0.0)
        parity = destination.compare(history.table, state.select(NOW + 10**9), NOW + 10**9)
        assert (parity.missing, parity.extra) == ((), ())
