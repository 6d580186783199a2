"""Random histories in any order, any number of times, in any batches, at every destination: a class of tests that each
one's own test module inherits. What the view shows is what Cassandra would answer."""

from __future__ import annotations

import itertools
import random
import re
import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load import Parity
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.load.changes import Cell, Change, batch, context, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.histories import NOW, TIMES, History, counter_tables, histories
from cdc_pipeline_tests.load.reference import Reference, reference
from cdc_pipeline_tests.load.versions import Pairs, pairs_of_cells, pairs_of_rows
from cdc_pipeline_tests.types.values import counted, decimal_bytes, int_bytes

ONE = int_bytes(1)
PROFILES = st.sampled_from(["native", "exact"])

many = settings(
    max_examples=35,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)

Delivered = Sequence[Sequence[Change] | int]
"""Batches of changes, and truncations at a time (µs)."""

D = TypeVar("D", bound=Destination)


class Ground(ABC, Generic[D]):
    """Where one example after the other is loaded, each into an empty table.

    `merges` are the words for when the server merges what it was sent, `settled` that after which all is merged.
    `whole` are the profiles whose types hold every value, so that nothing is parked. `empties`: a truncation takes away
    the rows that it hides; such as come behind it are hidden, and stay in the state.
    """

    merges: ClassVar[st.SearchStrategy[str]] = st.just("at once")
    settled: ClassVar[str] = "at once"
    whole: ClassVar[tuple[str, ...]] = ("native", "exact")
    empties: ClassVar[bool] = False

    def own(self, of: Table) -> Table:
        """The table of an example, of the shape of another."""
        return of

    def countable(self, history: History) -> History:
        """A history of counters, as far as the view is promised to show it exactly."""
        return history

    @abstractmethod
    def loaded(self, of: Table, **how: Any) -> AbstractContextManager[D]:
        """A destination with the table, which is empty."""

    def deliver(self, there: D, of: Table, delivered: Delivered, merges: str) -> list[Change]:
        """Loads, the server merging as it is told; returns the changes that were not parked."""
        return there.deliver(of, delivered)

    def compare(self, there: D, state: Reference, now: int) -> Parity:
        """The view at a time (s since 1970) against the reference."""
        return there.compare(state.table, state.select(now), now)

    @abstractmethod
    def state(self, there: D, of: Table) -> object:
        """The contents of every state table: what must be the same whatever the order of loading."""

    @abstractmethod
    def view(self, there: D, of: Table) -> str:
        """The view that users read, quoted."""

    @abstractmethod
    def shards(self, there: D, of: Table) -> list[int]:
        """How many shards each row's counter `n` has in the state."""

    @abstractmethod
    def ranges(self, there: D, of: Table) -> int:
        """How many range deletions the ledger holds."""


@st.composite
def deliveries(draw: st.DrawFn, history: History) -> list[list[Change]]:
    """The changes of a history, some of them twice, in any order, cut anywhere."""
    again = draw(st.lists(st.sampled_from(history.changes), max_size=5))
    order = draw(st.permutations([*history.changes, *again]))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)) | {len(order)})
    return [list(order[first:last]) for first, last in itertools.pairwise([0, *cuts])]


def delivered_anyhow(
    ground: Ground[D], there: D, of: Table, data: st.DataObject, history: History, times: Sequence[int] = ()
) -> set[Change]:
    """Delivers a history and truncations at times (µs) in any order, the server merging at any time; returns the
    changes that were not parked, which are all where the types hold every value."""
    delivered = data.draw(st.permutations([*data.draw(deliveries(history)), *times]))
    kept = set(ground.deliver(there, of, delivered, data.draw(ground.merges)))
    assert there.profile not in ground.whole or kept == set(history.changes)
    return kept


def assert_shows(
    ground: Ground[D], there: D, state: Reference, clocks: Iterable[int] = (NOW - 2, NOW, NOW + 2000)
) -> None:
    """Compares the view with the reference, by default at three times (s since 1970) around the expiries."""
    for now in clocks:
        parity = ground.compare(there, state, now)
        assert (parity.missing, parity.extra) == ((), ())


def assert_answers(
    ground: Ground[Any], data: st.DataObject, history: History, times: Sequence[int] = (), **how: Any
) -> None:
    """However a history and truncations at times (µs) are delivered, the view equals the order-free reference."""
    of = ground.own(history.table)
    with ground.loaded(of, **how) as there:
        kept = delivered_anyhow(ground, there, of, data, history, times)
        state = reference(of, [change for change in history.changes if change in kept])
        for ts in times:
            state.truncate(ts)
        assert_shows(ground, there, state)


def assert_same_state(
    ground: Ground[Any], data: st.DataObject, history: History, times: Sequence[int] = (), **how: Any
) -> None:
    """Two deliveries of a history and of truncations at times (µs) park the same and leave the same state."""
    states = []
    for _ in range(2):
        of = ground.own(history.table)
        with ground.loaded(of, **how) as there:
            kept = delivered_anyhow(ground, there, of, data, history, times)
            states.append((kept, ground.state(there, of)))
    assert states[0] == states[1]


def in_two_batches(ground: Ground[Any], shape: Table, pairs: Pairs, profile: str, merges: str) -> None:
    """The first of all pairs, then the second of all: the view is what the reference says, at several times."""
    of = ground.own(shape)
    changes = [change for pair in pairs for change in pair]
    with ground.loaded(of, profile=profile) as there:
        kept = set(ground.deliver(there, of, list(zip(*pairs, strict=True)), merges))
        assert profile not in ground.whole or kept == set(changes)
        state = reference(of, [change for change in changes if change in kept])
        assert_shows(ground, there, state, (NOW, NOW + 7, NOW + 100))


class MergeContract:
    """Inherit, and give the fixture `ground`."""

    @pytest.fixture
    def merges(self, ground: Ground[Any]) -> str:
        """When the server merges, where that is not drawn."""
        return ground.settled

    @given(data=st.data(), profile=PROFILES)
    @many
    def test_any_order_gives_cassandras_answer(self, ground: Ground[Any], data: st.DataObject, profile: str) -> None:
        """Shuffled, repeated and cut at random, with ties of every kind, the view equals the order-free reference."""
        assert_answers(ground, data, data.draw(histories()), profile=profile)

    @given(data=st.data(), profile=PROFILES)
    @settings(many, max_examples=25)
    def test_any_order_gives_the_same_state(self, ground: Ground[Any], data: st.DataObject, profile: str) -> None:
        """Two deliveries of one history leave the same merged contents in every state table, cell by cell."""
        assert_same_state(ground, data, data.draw(histories()), profile=profile)

    @given(data=st.data(), profile=PROFILES)
    @settings(many, max_examples=15)
    def test_masked_columns_answer_too(
        self, ground: Ground[Any], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, profile: str
    ) -> None:
        """With keys, statics, elements and values masked, the view equals the reference seen through the masks.

        Times are distinct: two live writes of one microsecond in different batches are ordered by their masks.
        Clustering columns stay in the clear, so that no range is parked. The decimals 1.0 and 1.00 are one element of a
        set to Cassandra, and have two masks (docs/convergence.md).
        """
        history = data.draw(histories(distinct_times=True))
        assume(not any(column.type.multi_cell and "decimal" in column.type.cql for column in history.table.values))
        ring = KeyRing.generate(tmp_path_factory.mktemp("keys") / "keys.json")
        rules = MaskingRules(pii_fields=("p0", "r0", "s1"), phi_fields=("r1", "r2", "s0"))
        assert_answers(ground, data, history, rules=rules, ring=ring, profile=profile)

    @given(data=st.data(), profile=PROFILES, times=st.lists(st.sampled_from(TIMES), min_size=1, max_size=3))
    @many
    def test_truncations_in_any_order(
        self, ground: Ground[Any], data: st.DataObject, profile: str, times: list[int]
    ) -> None:
        """However truncations and changes follow each other, what was written before the last one is gone, and no
        more."""
        assert_answers(ground, data, data.draw(histories()), times, profile=profile)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
    def test_the_first_form_of_a_key_is_shown(self, ground: Ground[Any], order: Sequence[int]) -> None:
        """Of the decimals 1.00, 1.0 and 1.000, which are one key, and of those inside another value: that which stands
        first in the oldest segment, be it there for a deletion alone."""
        kinds = [("c", "decimal"), ("d", "frozen<list<decimal>>")]
        of = ground.own(table("t", clustering=kinds, regular=[("v", "int")]))
        numbers = (decimal_bytes(100, 2), decimal_bytes(10, 1), decimal_bytes(1000, 3))
        two, one, three = ((number, counted(number)) for number in numbers)
        written = [
            ("CommitLog-7-9.log", Change((ONE,), two, deleted=3, at=300)),
            ("CommitLog-7-9.log", Change((ONE,), one, (Cell("v", 5, ONE),), live=5, at=400)),
            ("CommitLog-7-10.log", Change((ONE,), three, (Cell("v", 6, ONE),), live=4, at=100)),
        ]
        with ground.loaded(of, profile="exact") as there:
            for segment, change in (written[at] for at in order):
                assert there.load(batch(of, [change], segment=segment)) == []
            for _ in range(2):
                ((shown, inside),) = there.query(f"SELECT c, d FROM {ground.view(there, of)}")
                assert (shown, re.findall(r"1\.0+", str(inside))) == ("1.00", ["1.00"])
                ground.deliver(there, of, [], ground.settled)

    # --- counters --------------------------------------------------------------------------------------------------

    @given(data=st.data(), profile=PROFILES, times=st.lists(st.sampled_from(TIMES), max_size=2))
    @many
    def test_counters_in_any_order(
        self, ground: Ground[Any], data: st.DataObject, profile: str, times: list[int]
    ) -> None:
        """Shards with clocks and writetimes at odds where the destination can tell, deletions of every kind and
        truncations: shuffled, repeated and cut at random, the view equals the order-free reference."""
        history = ground.countable(data.draw(histories(of=data.draw(counter_tables()))))
        assert_answers(ground, data, history, times, profile=profile)

    @given(data=st.data(), profile=PROFILES, times=st.lists(st.sampled_from(TIMES), max_size=2))
    @settings(many, max_examples=15)
    def test_counters_leave_the_same_state(
        self, ground: Ground[Any], data: st.DataObject, profile: str, times: list[int]
    ) -> None:
        """Two deliveries of one history leave the same shards, and no more than can still count; with truncations
        where these leave the rows in the state to what comes behind them."""
        history = data.draw(histories(of=data.draw(counter_tables())))
        assert_same_state(ground, data, history, () if ground.empties else times, profile=profile)

    def test_a_counter_keeps_a_shard_of_each_writer(self, ground: Ground[Any]) -> None:
        """Of a thousand increments in two batches by two writers two shards are left once all is merged."""
        of = ground.own(table("t", regular=[("n", "counter")]))
        changes = [Change((ONE,), cells=(Cell("n", at, context((at % 2, at, at))),)) for at in range(1000)]
        with ground.loaded(of) as there:
            assert ground.deliver(there, of, [changes[:500], changes[500:]], ground.settled) == changes
            assert ground.shards(there, of) == [2]
            assert there.query(f"SELECT n FROM {ground.view(there, of)}") == [(999 + 998,)]

    # --- every pair of versions, in two batches --------------------------------------------------------------------

    @pytest.mark.parametrize("profile", ["native", "exact"])
    def test_every_pair_of_cells(self, ground: Ground[Any], profile: str, merges: str) -> None:
        """Of any two versions of a cell of any type the right one is left, whichever came first and in whichever
        batch."""
        in_two_batches(ground, *pairs_of_cells(), profile, merges)

    @pytest.mark.parametrize("profile", ["native", "exact"])
    def test_every_pair_of_rows(self, ground: Ground[Any], profile: str, merges: str) -> None:
        """Of livenesses, expiring or not, and deletions of rows, ranges and partitions, of one time or the next."""
        in_two_batches(ground, *pairs_of_rows(), profile, merges)

    @pytest.mark.parametrize("late", [False, True], ids=["rows first", "range first"])
    def test_bounds_that_no_index_holds(self, ground: Ground[Any], late: bool) -> None:
        """Two bounds of 2 000 bytes each, which differ only behind their beginning, delete what lies between them."""
        noise = random.Random(7)
        beginning = "".join(noise.choices(string.ascii_letters, k=1900))
        keys = sorted((beginning + "".join(noise.choices(string.ascii_letters, k=100))).encode() for _ in range(9))
        rows = [Change((ONE,), (key,), cells=(Cell("v", 5, ONE),), live=5) for key in keys]
        bounds = (Bound((keys[2],), True), Bound((keys[6],), False))
        others = (Bound((keys[3],), True), Bound((keys[6],), False))
        ranges = [
            Change((ONE,), kind=RowKind.RANGE, deleted=ts, bounds=one)
            for ts, one in ((9, bounds), (8, others), (7, bounds))
        ]
        of = ground.own(table("t", clustering=[("c", "text")], regular=[("v", "int")]))
        delivered = (ranges, rows) if late else (rows, ranges)
        with ground.loaded(of) as there:
            assert ground.deliver(there, of, delivered, ground.settled) == list(itertools.chain(*delivered))
            shown = there.query(f"SELECT c FROM {ground.view(there, of)}")
            assert sorted(shown) == [(key.decode(),) for key in (*keys[:2], *keys[6:])]
            assert ground.ranges(there, of) == 2
