"""Traps of the engine (`ddl.py`, `view.py`, `connection.py` say what is done about each): each test shows the trap on
this very server, too, so that what was fallen into cannot pass."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa
import pytest

from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

OF = table("t", regular=[("a", "int"), ("b", "text"), ("d", "decimal")])
ONE, TWO, NINE = int_bytes(1), int_bytes(2), int_bytes(9)
NOW = 1_700_000_000


@pytest.fixture
def there(ch_database: ChDatabase) -> Iterator[ClickHouseDestination]:
    """A table whose parts are never merged."""
    with ClickHouseDestination("", (OF,), place=ch_database).prepare() as destination:
        destination.stop_merges(OF)
        yield destination


def write(number: int, *cells: Cell) -> Change:
    return Change((int_bytes(number),), cells=cells, live=cells[0].ts)


# --- inserts ----------------------------------------------------------------------------------------------------------


def test_a_part_is_written_as_it_comes(there: ClickHouseDestination) -> None:
    """`optimize_on_insert=0`: rows of one key in one insert lie in the part as they were sent; merging them on the way
    costs five times the insert."""
    state = there.plan(OF).state
    one = there.fit(batch(OF, [write(1, Cell("a", 5, ONE))])).encoded.payload
    two = there.fit(batch(OF, [write(1, Cell("a", 6, TWO))])).encoded.payload
    there.sink._connection.insert(state, pa.concat_tables([one.rows, two.rows]))  # type: ignore[attr-defined]
    assert (there.query(f"SELECT count() FROM {state}"), there.parts(state)) == ([(2,)], 1)
    assert there.query("SELECT a FROM {p}ks.t") == [(2,)]


def test_a_batch_that_was_purged_may_come_again(there: ClickHouseDestination) -> None:
    """`deduplicate_insert=disable`: the same block is written again, also where the server remembers the last ones."""
    state = there.plan(OF).state
    there.run(f"ALTER TABLE {state} MODIFY SETTING non_replicated_deduplication_window = 100")
    rows = there.fit(batch(OF, [write(1, Cell("a", 5, ONE))])).encoded.payload.rows
    rows = rows.append_column("r:t", pa.array([1], pa.uint32()))  # else the time tells the blocks apart
    for _ in range(2):
        there.sink._connection.insert(state, rows)  # type: ignore[attr-defined]
        assert there.query("SELECT a FROM {p}ks.t") == [(1,)]
        there.run(
            f"SYSTEM START MERGES {state}", f"ALTER TABLE {state} DELETE WHERE p0 = 1 SETTINGS mutations_sync = 2"
        )
        assert there.query("SELECT a FROM {p}ks.t") == []


# --- reading ----------------------------------------------------------------------------------------------------------


def test_elements_of_tuples_under_final(there: ClickHouseDestination) -> None:
    """An element read under `FINAL` comes from any version of its row; the view shows the right one, also to queries
    that select, filter and aggregate a single column."""
    changes = []
    for ts, value in ((5, 2**31 - 1), (9, 3), (7, 2**30)):
        changes += [
            write(n, Cell("a", ts, int_bytes(value - n)), Cell("b", ts, f"{1000 - ts - n:05}".encode()))
            for n in range(100)
        ]
    for at in (0, 100, 200):
        there.load(batch(OF, changes[at : at + 100]))
    state = there.plan(OF).state
    assert there.parts(state) == 3
    right = [(n, 3 - n, f"{991 - n:05}") for n in range(100)]
    naive = there.query(f"SELECT p0, `v:a`.b, `v:b`.b FROM {state} FINAL ORDER BY p0")
    assert [row[1] for row in naive] != [(3 - n) % 2**32 for n in range(100)], "this server has no such trap any more"
    assert there.query("SELECT pk, a, b FROM {p}ks.t ORDER BY pk") == right
    assert there.query("SELECT a FROM {p}ks.t ORDER BY pk") == [(row[1],) for row in right]
    assert there.query("SELECT b FROM {p}ks.t WHERE a = -40") == [("00948",)]
    assert there.query("SELECT sum(a), max(b), min(a) FROM {p}ks.t") == [(sum(r[1] for r in right), "00991", -96)]
    assert there.query("SELECT count() FROM {p}ks.t WHERE a > 100") == [(0,)]
    assert there.query("SELECT a FROM {p}ks.t WHERE pk = 7 AND b = '00984'") == [(-4,)]
    assert there.query("SELECT b, count() FROM {p}ks.t GROUP BY b HAVING b < '00893'") == [("00892", 1)]


@pytest.mark.parametrize("merged", [False, True], ids=["in parts", "merged"])
def test_a_newer_null_wins(there: ClickHouseDestination, merged: bool) -> None:
    """In any order, where `argMax` would pass over it."""
    old, null = write(1, Cell("a", 5, ONE), Cell("b", 5, b"x")), Change((ONE,), cells=(Cell("a", 6), Cell("b", 6)))
    for changes in ([old, null], [null, old], [old]):
        for change in changes:
            there.load(batch(OF, [change]))
    if merged:
        there.merge(OF)
    assert there.query("SELECT pk, a, b FROM {p}ks.t") == [(1, None, None)]
    assert there.query("SELECT count() FROM {p}ks.t WHERE isNull(a)") == [(1,)]
    naive = there.query("SELECT argMax(v, w) FROM values('v Nullable(Int32), w Int32', (1, 5), (NULL, 6))")
    assert naive == [(1,)]


@pytest.mark.parametrize("merged", [False, True], ids=["in parts", "merged"])
def test_partial_rows_out_of_order(there: ClickHouseDestination, merged: bool) -> None:
    """Each column has its own last write, where an engine that keeps whole rows has the last row's."""
    for change in (
        write(1, Cell("a", 9, NINE)),
        write(1, Cell("b", 7, b"y")),
        write(1, Cell("a", 5, ONE), Cell("b", 5, b"x")),
    ):
        there.load(batch(OF, [change]))
    if merged:
        there.merge(OF)
    assert there.query("SELECT pk, a, b FROM {p}ks.t") == [(1, 9, "y")]


# --- values without a place -------------------------------------------------------------------------------------------


def millis(number: int) -> bytes:
    return struct.pack(">q", number)


def days(number: int) -> bytes:
    return struct.pack(">I", 2**31 + number)


TIMES = table("times", regular=[("at", "timestamp"), ("on", "date"), ("ats", "list<timestamp>"), ("ons", "set<date>")])
FIRST, LAST = (millis(-2_208_988_800_000), days(-25_567)), (millis(10_413_791_999_999), days(120_529))
BEFORE, BEHIND = (millis(-2_208_988_800_001), days(-25_568)), (millis(10_413_792_000_000), days(120_530))


@pytest.fixture
def times(ch_database: ChDatabase) -> Iterator[ClickHouseDestination]:
    """A table of times."""
    with ClickHouseDestination("", (TIMES,), place=ch_database).prepare() as destination:
        yield destination


def test_the_first_and_the_last_time_arrive(times: ClickHouseDestination) -> None:
    """1900-01-01 and the last of 2299, as values and as elements."""
    path = bytes(15)
    changes = [
        Change(
            (int_bytes(n),),
            cells=(
                Cell("at", 5, at),
                Cell("on", 5, on),
                Cell("ats", 5, at, path + b"\1"),
                Cell("ons", 5, b"", on),
            ),
            live=5,
        )
        for n, (at, on) in enumerate((FIRST, LAST))
    ]
    assert times.load(batch(TIMES, changes)) == []
    found = times.query(
        "SELECT toString(at), toString(on), arrayMap(x -> toString(x), ats), arrayMap(x -> toString(x), ons) "
        "FROM {p}ks.times ORDER BY pk"
    )
    assert found == [
        ("1900-01-01 00:00:00.000", "1900-01-01", ["1900-01-01 00:00:00.000"], ["1900-01-01"]),
        ("2299-12-31 23:59:59.999", "2299-12-31", ["2299-12-31 23:59:59.999"], ["2299-12-31"]),
    ]
    assert times.compare(TIMES, reference(TIMES, changes).select(NOW), NOW).holds


@pytest.mark.parametrize("column", ["at", "on", "ats", "ons"])
@pytest.mark.parametrize("beyond", [BEFORE, BEHIND], ids=["before", "behind"])
def test_what_would_be_clamped_is_parked(
    times: ClickHouseDestination, column: str, beyond: tuple[bytes, bytes]
) -> None:
    """ClickHouse would show the first or the last time that it knows, and say nothing."""
    at, on = beyond
    cell = {
        "at": Cell("at", 5, at),
        "on": Cell("on", 5, on),
        "ats": Cell("ats", 5, at, bytes(16)),
        "ons": Cell("ons", 5, b"", on),
    }[column]
    (letter,) = times.load(batch(TIMES, [Change((ONE,), cells=(cell,), live=5)]))
    assert (str(letter.reason), "outside of 1900 to 2299" in letter.message) == ("VALUE_OUT_OF_RANGE", True)
    assert times.query("SELECT * FROM {p}ks.times") == []


def test_decimals_are_never_rounded(there: ClickHouseDestination) -> None:
    """A digit too many is parked."""
    eighteen = Cell("d", 5, (18).to_bytes(4, "big") + b"\1")
    nineteen = Cell("d", 5, (19).to_bytes(4, "big") + b"\1")
    (letter,) = there.load(batch(OF, [write(1, eighteen), write(2, nineteen)]))
    assert "fraction digits" in letter.message
    assert there.query("SELECT pk, toString(d) FROM {p}ks.t") == [(1, "0.000000000000000001")]
