"""Random histories in any order, any number of times, in any batches: the view is what Cassandra would answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, context, table
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination, again
from cdc_pipeline_tests.load.histories import NOW, SIMPLE, TIMES, History, counter_tables, histories
from cdc_pipeline_tests.load.postgres.test_merge import (
    AT,
    ELEMENTS,
    EXPIRING,
    deliveries,
    many,
    versions,
)
from cdc_pipeline_tests.load.reference import Reference, reference, shards
from cdc_pipeline_tests.types.values import int_bytes

Make = Callable[..., Any]

MERGES = st.sampled_from(["as it likes", "never", "at the end", "now and then"])
"""When the server merges parts."""


@pytest.fixture(scope="module")
def one_place(ch_server: Any) -> Iterator[ChDatabase]:
    """One place for all examples: each has a table of its own."""
    place = ch_server.place()
    yield place
    place.drop()


@pytest.fixture
def loaded(one_place: ChDatabase) -> Make:
    """A function that prepares a table, which is gone afterwards."""

    @contextmanager
    def prepared(of: Table, **how: Any) -> Iterator[ClickHouseDestination]:
        with ClickHouseDestination("", (of,), place=one_place, **how).prepare() as destination:
            yield destination
            destination.drop(of)

    return prepared


def deliver(
    destination: ClickHouseDestination, of: Table, delivered: Sequence[Sequence[Change] | int], merges: str
) -> list[Change]:
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


def assert_answers(destination: ClickHouseDestination, of: Table, state: Reference) -> None:
    """Compares the view with the reference at three times around the expiries."""
    for now in (NOW - 2, NOW, NOW + 2000):
        parity = destination.compare(of, state.select(now), now)
        assert (parity.missing, parity.extra) == ((), ())


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]), merges=MERGES)
@settings(many, max_examples=20)
def test_any_order_gives_cassandras_answer(loaded: Make, data: st.DataObject, profile: str, merges: str) -> None:
    """Shuffled, repeated and cut at random, with ties of every kind, the view equals the order-free reference."""
    history = data.draw(histories())
    of = again(history.table)
    with loaded(of, profile=profile) as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), merges)
        assert profile == "native" or set(kept) == set(history.changes)
        assert_answers(destination, of, reference(of, kept))


@given(data=st.data())
@settings(many, max_examples=12)
def test_any_order_gives_the_same_state(loaded: Make, data: st.DataObject) -> None:
    """Two deliveries of one history leave the same merged contents in every state table, cell by cell."""
    history = data.draw(histories())
    assert_same_state(loaded, data, history, [])


def assert_same_state(loaded: Make, data: st.DataObject, history: Any, times: list[int]) -> None:
    """Delivers twice, each time in another order and with other merges; what no type here holds is in neither."""
    states = []
    for _ in range(2):
        of = again(history.table)
        delivered = [*data.draw(deliveries(history)), *times]
        with loaded(of, profile="exact") as destination:
            kept = deliver(destination, of, data.draw(st.permutations(delivered)), data.draw(MERGES))
            assert set(kept) == set(history.changes)
            states.append(destination.state(of))
    assert states[0] == states[1]


@given(data=st.data())
@settings(many, max_examples=10)
def test_masked_columns_answer_too(loaded: Make, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With keys, statics, elements and values masked, the view equals the reference seen through the masks; times are
    distinct, and sets hold no decimals, for the reasons that PostgreSQL's test gives."""
    history = data.draw(histories(distinct_times=True))
    assume(not any(column.type.multi_cell and "decimal" in column.type.cql for column in history.table.values))
    ring = KeyRing.generate(tmp_path_factory.mktemp("keys") / "keys.json")
    rules = MaskingRules(pii_fields=("p0", "r0", "s1"), phi_fields=("r1", "r2", "s0"))
    of = again(history.table)
    with loaded(of, rules=rules, ring=ring, profile="exact") as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), data.draw(MERGES))
        assert_answers(destination, of, reference(of, kept))


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@settings(many, max_examples=12)
def test_truncations_in_any_order(loaded: Make, data: st.DataObject, profile: str) -> None:
    """However truncations and changes follow each other, what was written before the last one is gone, and no more."""
    history = data.draw(histories())
    times = data.draw(st.lists(st.sampled_from(TIMES), min_size=1, max_size=3))
    delivered: list[list[Change] | int] = [*data.draw(deliveries(history)), *times]
    of = again(history.table)
    with loaded(of, profile=profile) as destination:
        state = reference(of, deliver(destination, of, data.draw(st.permutations(delivered)), data.draw(MERGES)))
        for ts in times:
            state.truncate(ts)
        assert_answers(destination, of, state)


# --- counters ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(many, max_examples=12)
def test_counters_leave_the_same_state(loaded: Make, data: st.DataObject) -> None:
    """Shards with clocks and writetimes at odds, deletions and truncations: two deliveries leave the same shards."""
    history = data.draw(histories(of=data.draw(counter_tables())))
    assert_same_state(loaded, data, history, data.draw(st.lists(st.sampled_from(TIMES), max_size=2)))


@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@settings(many, max_examples=12)
def test_counters_in_any_order(loaded: Make, data: st.DataObject, profile: str) -> None:
    """Where each writer's clock rises with its writetimes, as a node's does, the view equals the reference."""
    history = data.draw(histories(of=data.draw(counter_tables())))
    times = data.draw(st.lists(st.sampled_from(TIMES), max_size=2))
    of = again(history.table)
    changes = [dataclasses.replace(one, cells=tuple(map(with_risen_clocks, one.cells))) for one in history.changes]
    delivered: list[list[Change] | int] = [*data.draw(deliveries(History(of, tuple(changes)))), *times]
    with loaded(of, profile=profile) as destination:
        state = reference(of, deliver(destination, of, data.draw(st.permutations(delivered)), data.draw(MERGES)))
        for ts in times:
            state.truncate(ts)
        assert_answers(destination, of, state)


def with_risen_clocks(cell: Cell) -> Cell:
    """The cell with shards whose clocks are its writetime."""
    if cell.value is None:
        return cell
    risen = [(int.from_bytes(identity, "big"), cell.ts, count) for identity, _, count in shards(cell.value)]
    return dataclasses.replace(cell, value=context(*risen))


def test_a_counter_keeps_a_shard_of_each_writer(loaded: Make) -> None:
    """Of a thousand increments in two batches by two writers two shards are left once the parts are merged."""
    of = again(table("t", regular=[("n", "counter")]))
    changes = [Change((int_bytes(1),), cells=(Cell("n", at, context((at % 2, at, at))),)) for at in range(1000)]
    with loaded(of) as destination:
        destination.deliver(of, [changes[:500], changes[500:]])
        destination.merge(of)
        state = destination.plan(of).state
        assert destination.query(f"SELECT length(`v:n`), length(`o:n`) FROM {state}") == [(2, 2)]
        assert destination.query(f"SELECT n FROM {destination.plan(of).public}") == [(999 + 998,)]


# --- every pair of versions, in two batches ---------------------------------------------------------------------------


def in_two_batches(
    destination: ClickHouseDestination, of: Table, pairs: Sequence[tuple[Change, Change]], merged: bool
) -> None:
    """The first of all pairs, then the second of all: the view is what the reference says, at several times."""
    kept = deliver(
        destination,
        of,
        [[first for first, _ in pairs], [second for _, second in pairs]],
        "at the end" if merged else "never",
    )
    state = reference(of, kept)
    for now in (NOW, NOW + 7, NOW + 100):
        parity = destination.compare(of, state.select(now), now)
        assert (parity.missing, parity.extra) == ((), ())


@pytest.mark.parametrize(("profile", "merged"), [("native", False), ("exact", True)], ids=["in parts", "merged"])
def test_every_pair_of_cells(loaded: Make, profile: str, merged: bool) -> None:
    """Of any two versions of a cell of any type the right one is left, whichever came first and in whichever batch."""
    kinds = [*SIMPLE, "timeuuid", "frozen<list<int>>", *ELEMENTS]
    of = again(table("t", regular=[(f"c{at:02}", kind) for at, kind in enumerate(kinds)]))
    written = [versions(kind, f"c{at:02}") for at, kind in enumerate(kinds)]
    most = max(map(len, written))
    pairs = []
    for number in range(most * most):
        first, second = divmod(number, most)
        sides = [tuple(c for of_kind in written for c in of_kind[at % len(of_kind)]) for at in (first, second)]
        pairs.append((Change((int_bytes(number),), (), sides[0], live=1), Change((int_bytes(number),), (), sides[1])))
    with loaded(of, profile=profile) as destination:
        in_two_batches(destination, of, pairs, merged)


@pytest.mark.parametrize("merged", [False, True], ids=["in parts", "merged"])
def test_every_pair_of_rows(loaded: Make, merged: bool) -> None:
    """Of livenesses, expiring or not, and deletions of rows, ranges and partitions, of one time or the next."""
    of = again(table("t", clustering=[("ck", "int")], static=[("s", "int")], regular=[("v", "int")]))
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
    with loaded(of) as destination:
        in_two_batches(destination, of, pairs, merged)
