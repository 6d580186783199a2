"""Random histories in any order, any number of times, in any batches: the view is what Cassandra would answer."""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import HealthCheck, Phase, assume, given, reject, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load import Parity
from cdc_pipeline.load.postgres.types import Unfit
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.load.changes import Cell, Change, batch, context, cql, table
from cdc_pipeline_tests.load.destination import UNMASKED, Destination, state_of
from cdc_pipeline_tests.load.histories import NOW, POOLS, SIMPLE, TIMES, History, counter_tables, histories
from cdc_pipeline_tests.load.reference import Reference, reference
from cdc_pipeline_tests.types.values import counted, int_bytes

ONE = int_bytes(1)

many = settings(
    max_examples=35,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


@pytest.fixture
def new_database(make_pg_database: Callable[[], str]) -> Callable[[], str]:
    """A function that empties one database of everything, for one example after the other."""
    conninfo = make_pg_database()

    def empty() -> str:
        with Destination(conninfo, ()) as destination:
            connection = destination.sink._open()
            connection.execute("DROP SCHEMA IF EXISTS cdc, ks CASCADE")
        return conninfo

    return empty


@st.composite
def deliveries(draw: st.DrawFn, history: History) -> list[list[Change]]:
    """The changes of a history, some of them twice, in any order, cut anywhere."""
    again = draw(st.lists(st.sampled_from(history.changes), max_size=5))
    order = draw(st.permutations([*history.changes, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)) | {len(order)})
    return [list(order[first:last]) for first, last in itertools.pairwise([0, *cuts])]


def compared(destination: Destination, history: History, state: Reference, now: int) -> Parity:
    """The view at a time against the reference."""
    try:
        return destination.compare(history.table, state.select(now), now)
    except Unfit as error:
        if str(error) != "two map keys that print alike":  # `jsonb` shows one of them (docs/types.md)
            raise
        reject()


def deliver(destination: Destination, history: History, delivered: Iterable[list[Change] | int]) -> None:
    """Batches of changes, none of which is parked, and truncations at a time (µs)."""
    for one in delivered:
        if isinstance(one, int):
            destination.truncate(history.table, one)
        else:
            assert destination.load(batch(history.table, one)) == []


def assert_answers(destination: Destination, history: History, delivered: list[list[Change]]) -> None:
    """Delivers, and compares the view with the reference at four times around the expiries."""
    deliver(destination, history, delivered)
    state = reference(history.table, history.changes)
    for now in (NOW - 2, NOW, NOW + 2000):
        parity = compared(destination, history, state, now)
        assert (parity.missing, parity.extra) == ((), ())


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@many
def test_any_order_gives_cassandras_answer(new_database: Callable[[], str], data: st.DataObject, profile: str) -> None:
    """Shuffled, repeated and cut at random, with ties of every kind, the view equals the order-free reference."""
    history = data.draw(histories())
    with Destination(new_database(), (history.table,), profile=profile).prepare() as destination:
        assert_answers(destination, history, data.draw(deliveries(history)))


@given(data=st.data())
@settings(many, max_examples=25)
def test_any_order_gives_the_same_state(new_database: Callable[[], str], data: st.DataObject) -> None:
    """Two deliveries of one history leave the same contents in every state table, cell by cell."""
    history = data.draw(histories())
    states = []
    for _ in range(2):
        with Destination(new_database(), (history.table,), UNMASKED).prepare() as destination:
            for changes in data.draw(deliveries(history)):
                destination.load(batch(history.table, changes))
            states.append(state_of(destination.conninfo))
    assert states[0] == states[1]


@given(data=st.data())
@settings(many, max_examples=15)
def test_masked_columns_answer_too(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With keys, statics, elements and values masked, the view equals the reference seen through the masks.

    Times are distinct: two live writes of one microsecond in different batches are ordered by their masks.
    Clustering columns stay in the clear, so that no range is parked. The decimals 1.0 and 1.00 are one element of a set
    to Cassandra, and have two masks (docs/convergence.md).
    """
    history = data.draw(histories(distinct_times=True))
    assume(not any(column.type.multi_cell and "decimal" in column.type.cql for column in history.table.values))
    ring = KeyRing.generate(tmp_path_factory.mktemp("keys") / "keys.json")
    rules = MaskingRules(pii_fields=("p0", "r0", "s1"), phi_fields=("r1", "r2", "s0"))
    with Destination(new_database(), (history.table,), rules, ring).prepare() as destination:
        assert_answers(destination, history, data.draw(deliveries(history)))


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@many
def test_truncations_in_any_order(new_database: Callable[[], str], data: st.DataObject, profile: str) -> None:
    """However truncations and changes follow each other, what was written before the last one is gone, and no more."""
    history = data.draw(histories())
    times = data.draw(st.lists(st.sampled_from(TIMES), min_size=1, max_size=3))
    delivered: list[list[Change] | int] = [*data.draw(deliveries(history)), *times]
    state = reference(history.table, history.changes)
    for ts in times:
        state.truncate(ts)
    with Destination(new_database(), (history.table,), profile=profile).prepare() as destination:
        deliver(destination, history, data.draw(st.permutations(delivered)))
        for now in (NOW - 2, NOW, NOW + 2000):
            parity = compared(destination, history, state, now)
            assert (parity.missing, parity.extra) == ((), ())


# --- counters ---------------------------------------------------------------------------------------------------------


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@many
def test_counters_in_any_order(new_database: Callable[[], str], data: st.DataObject, profile: str) -> None:
    """Shards with clocks and writetimes at odds, deletions of every kind and truncations: shuffled, repeated and cut at
    random, the view equals the order-free reference."""
    history = data.draw(histories(of=data.draw(counter_tables())))
    times = data.draw(st.lists(st.sampled_from(TIMES), max_size=2))
    delivered: list[list[Change] | int] = [*data.draw(deliveries(history)), *times]
    state = reference(history.table, history.changes)
    for ts in times:
        state.truncate(ts)
    with Destination(new_database(), (history.table,), profile=profile).prepare() as destination:
        deliver(destination, history, data.draw(st.permutations(delivered)))
        parity = destination.compare(history.table, state.select(NOW), NOW)
        assert (parity.missing, parity.extra) == ((), ())


@given(data=st.data())
@settings(many, max_examples=15)
def test_counters_leave_the_same_state(new_database: Callable[[], str], data: st.DataObject) -> None:
    """Two deliveries of one history leave the same shards, and no more than can still count."""
    history = data.draw(histories(of=data.draw(counter_tables())))
    states = []
    for _ in range(2):
        with Destination(new_database(), (history.table,), UNMASKED).prepare() as destination:
            for changes in data.draw(deliveries(history)):
                destination.load(batch(history.table, changes))
            states.append(state_of(destination.conninfo))
    assert states[0] == states[1]


def test_a_counter_keeps_a_shard_of_each_writer(pg_database: str) -> None:
    """Of a thousand increments in two batches by two writers two shards are left."""
    of = table("t", regular=[("n", "counter")])
    key = (int_bytes(1),)
    changes = [Change(key, cells=(Cell("n", at, context((at % 2, at, at))),)) for at in range(1000)]
    with Destination(pg_database, (of,)).prepare() as destination:
        assert destination.load(batch(of, changes[:500]), batch(of, changes[500:])) == []
        (state,) = destination.query('SELECT array_length("v:n", 1) FROM cdc."ks.t"')
        assert state == (2,)
        assert destination.query("SELECT n FROM ks.t") == [(999 + 998,)]


# --- every pair of versions, in two batches ---------------------------------------------------------------------------

AT = NOW * 1_000_000
EXPIRING = ((NOW + 5, 60), (NOW + 5, 1), (NOW + 9, 60), (NOW - 5, 60))
"""(expiry, TTL) of versions that expire."""


def versions(kind: str, column: str) -> list[tuple[Cell, ...]]:
    """What one statement may write to a column in one microsecond, or just before."""
    cql_type = cql(kind)
    if not cql_type.multi_cell:
        pool = POOLS.get(kind, (counted(), counted(int_bytes(1)), counted(int_bytes(-1))))
        made = [(Cell(column, AT, value),) for value in pool]
        made += [(Cell(column, AT, pool[0], expires=expires, ttl=ttl),) for expires, ttl in EXPIRING]
        return [*made, (Cell(column, AT, None),), (Cell(column, AT - 1, pool[0]),)]
    path, pool = ELEMENTS[kind]
    made = [(Cell(column, AT, value, path),) for value in pool]
    made += [(Cell(column, AT, pool[0], path, expires, ttl=ttl),) for expires, ttl in EXPIRING]
    made += [(Cell(column, AT, None, path),), (Cell(column, AT - 1, pool[-1], path),)]
    deletions = [Cell(column, AT - 1, deletes=True), Cell(column, AT, deletes=True)]
    return [*made, *((deletion,) for deletion in deletions), (deletions[0], *made[0])]


ELEMENTS = {
    "list<int>": (POOLS["timeuuid"][0], (int_bytes(1), int_bytes(-1))),
    "set<text>": (b"a", (b"",)),
    "map<text, int>": (b"k", (int_bytes(1), int_bytes(-1))),
    "name": (b"\x00\x00", (b"x", "ä".encode())),
}
"""A path and values of an element."""


def in_two_batches(conninfo: str, of: Table, pairs: Sequence[tuple[Change, Change]], profile: str) -> None:
    """The first of all pairs, then the second of all: the view is what the reference says, at several times."""
    with Destination(conninfo, (of,), profile=profile).prepare() as destination:
        assert destination.load(batch(of, [first for first, _ in pairs])) == []
        assert destination.load(batch(of, [second for _, second in pairs])) == []
        state = reference(of, [change for pair in pairs for change in pair])
        for now in (NOW, NOW + 7, NOW + 100):
            parity = destination.compare(of, state.select(now), now)
            assert (parity.missing, parity.extra) == ((), ())


@pytest.mark.parametrize("profile", ["native", "exact"])
def test_every_pair_of_cells(pg_database: str, profile: str) -> None:
    """Of any two versions of a cell of any type the right one is left, whichever came first and in whichever batch."""
    kinds = [*SIMPLE, "timeuuid", "frozen<list<int>>", *ELEMENTS]
    of = table("t", regular=[(f"c{at:02}", kind) for at, kind in enumerate(kinds)])
    written = [versions(kind, f"c{at:02}") for at, kind in enumerate(kinds)]
    most = max(map(len, written))
    pairs = []
    for number in range(most * most):
        first, second = divmod(number, most)
        sides = [tuple(c for of_kind in written for c in of_kind[at % len(of_kind)]) for at in (first, second)]
        pairs.append((Change((int_bytes(number),), (), sides[0], live=1), Change((int_bytes(number),), (), sides[1])))
    in_two_batches(pg_database, of, pairs, profile)


def test_every_pair_of_rows(pg_database: str) -> None:
    """Of livenesses, expiring or not, and deletions of rows, ranges and partitions, of one time or the next."""
    of = table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int")])
    everything = (Bound((), True), Bound((), True))

    def made(key: tuple[bytes, ...]) -> list[Change]:
        row = (int_bytes(1),)
        found = [Change(key, row, live=AT), Change(key, row, live=AT - 1), Change(key, row, live=AT + 1)]
        found += [Change(key, row, live=AT, live_expires=expires, live_ttl=ttl) for expires, ttl in EXPIRING]
        found += [Change(key, row, (Cell("v", AT, int_bytes(5)),)), Change(key, row, deleted=AT)]
        found += [Change(key, kind=RowKind.RANGE, deleted=AT + more, bounds=everything) for more in (-1, 0)]
        found += [Change(key, kind=RowKind.PARTITION, deleted=AT + more) for more in (-1, 0)]
        return [*found, Change(key, kind=RowKind.STATIC, cells=(Cell("s", AT, int_bytes(7)),))]

    count = len(made((b"",)))
    pairs = []
    for number in range(count * count):
        changes = made((int_bytes(number),))
        pairs.append((changes[number // count], changes[number % count]))
    in_two_batches(pg_database, of, pairs, "native")


@pytest.mark.parametrize("late", [False, True], ids=["rows first", "range first"])
def test_bounds_that_no_index_holds(pg_database: str, late: bool) -> None:
    """Two bounds of 2 000 bytes each, which differ only behind their beginning, delete what lies between them."""
    of = table("t", clustering=[("c", "text")], regular=[("v", "int")])
    noise = random.Random(7)
    beginning = "".join(noise.choices(string.ascii_letters, k=1900))
    keys = [(beginning + "".join(noise.choices(string.ascii_letters, k=100))).encode() for _ in range(9)]
    keys.sort()
    rows = [Change((ONE,), (key,), cells=(Cell("v", 5, ONE),), live=5) for key in keys]
    bounds = (Bound((keys[2],), True), Bound((keys[6],), False))
    others = (Bound((keys[3],), True), Bound((keys[6],), False))
    ranges = [
        Change((ONE,), kind=RowKind.RANGE, deleted=ts, bounds=one)
        for ts, one in ((9, bounds), (8, others), (7, bounds))
    ]
    with Destination(pg_database, (of,)).prepare() as destination:
        for changes in (ranges, rows) if late else (rows, ranges):
            assert destination.load(batch(of, changes)) == []
        assert destination.query('SELECT c FROM ks.t ORDER BY c COLLATE "C"') == [
            (key.decode(),) for key in (*keys[:2], *keys[6:])
        ]
        assert destination.query('SELECT count(*) FROM cdc."ks.t:ranges"') == [(2,)]
