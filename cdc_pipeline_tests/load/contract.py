"""What every destination must do: a class of tests that each one's own test module inherits."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cdc_pipeline.change import START, ChangeBatch, Position
from cdc_pipeline.dlq import DeadLetterEvent, FailureReason
from cdc_pipeline.errors import LaneLost, TransientSinkError
from cdc_pipeline.fitting import Fitter
from cdc_pipeline.load import Encoded, Sink, Truncation
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.schema import DroppedColumn
from cdc_pipeline.transform import MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline.types import Scalar
from cdc_pipeline_tests.load.changes import Cell, Change, batch, context, table
from cdc_pipeline_tests.types.values import int_bytes

ONE, OTHER = Lane("warehouse", "node1"), Lane("warehouse", "node2")
USERS = table("users", key=[("id", "int")], regular=[("name", "text")])
EVENTS = table("events", key=[("day", "int")], clustering=[("at", "int")], static=[("s", "int")])
HITS = table("hits", key=[("page", "int")], clustering=[("at", "int")], regular=[("n", "counter")])
TABLES = (USERS, EVENTS, HITS)
AT_10, AT_20 = Position("CommitLog-7-1.log", 10), Position("CommitLog-7-1.log", 20)

POLICY = MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None)
MASKS = {one.full_name: TableMasks(POLICY, one) for one in TABLES}


class Place(ABC):
    """A fresh database of the destination under test. `atomic`: a micro-batch is there whole or not at all; elsewhere
    what is there of one is absorbed when it comes again, for its offset comes last."""

    atomic = True

    @abstractmethod
    def sink(self) -> Sink:
        """A new sink, which connects when it needs to."""

    @abstractmethod
    def unreachable(self) -> Sink:
        """A sink whose server does not answer."""

    @abstractmethod
    def disconnect(self) -> None:
        """Ends every connection to the database, as a server's restart does."""

    def reconnect(self) -> None:
        """Lets connections through again, where `disconnect` keeps them out until then."""
        return

    @abstractmethod
    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """What users see of `keyspace.table`, sorted."""


def user(number: int, name: str, ts: int = 1) -> ChangeBatch:
    """A batch of one INSERT."""
    change = Change((int_bytes(number),), cells=(Cell("name", ts, name.encode()),), live=ts)
    return batch(USERS, [change])


def hits(ts: int, *shards: tuple[int, int, int]) -> ChangeBatch:
    """A batch of one counter cell: (counter id, clock, count) of each shard."""
    return batch(HITS, [Change((int_bytes(1),), (int_bytes(1),), (Cell("n", ts, context(*shards)),))])


def letter(name: str = "a", lane: Lane = ONE) -> DeadLetterEvent:
    """A parked change; the same name is the same change."""
    return DeadLetterEvent(
        id=uuid.uuid5(uuid.NAMESPACE_OID, f"{lane}{name}"),
        destination=lane.destination,
        shard=lane.shard,
        keyspace="ks",
        table="users",
        reason=FailureReason.VALUE_OUT_OF_RANGE,
        message="column ks.users.name: text does not fit text: U+0000 inside a text",
        event={"event_id": name},
        schema_details={},
        position=AT_10,
    )


class SinkContract:
    """Inherit, and give the fixture `place`."""

    @pytest.fixture
    def sinks(self, place: Place) -> Iterator[Callable[[], Sink]]:
        """A function that gives one more prepared sink."""
        made: list[Sink] = []

        def prepared() -> Sink:
            sink = place.sink()
            made.append(sink)
            sink.prepare([(masks.table, masks) for masks in MASKS.values()])
            return sink

        yield prepared
        for sink in made:
            sink.close()

    @pytest.fixture
    def sink(self, sinks: Callable[[], Sink]) -> Sink:
        """A prepared sink."""
        return sinks()

    @staticmethod
    def encoded(sink: Sink, changes: ChangeBatch) -> Encoded:
        """A batch ready to be sent."""
        return Fitter(ONE, lambda table: MASKS[table.full_name], sink).fit(changes).encoded

    def apply(self, sink: Sink, held: LaneState, changes: ChangeBatch, to: Position = AT_10) -> LaneState:
        """One batch applied."""
        return sink.apply(held, [self.encoded(sink, changes)], [], to, changes.changes)

    # --- preparing -------------------------------------------------------------------------------------------------

    def test_summary_needs_no_server(self, place: Place) -> None:
        """What a table would become is known without a connection."""
        summary = place.unreachable().summary(USERS, MASKS["ks.users"])
        assert [column.name for column in summary.columns] == ["id", "name"]
        assert summary.refusal is None

    def test_prepare_may_be_repeated(self, sink: Sink, place: Place) -> None:
        """Preparing again leaves what is loaded."""
        self.apply(sink, sink.claim(ONE, "run"), user(1, "x"))
        sink.prepare([(masks.table, masks) for masks in MASKS.values()])
        assert place.rows("ks.users") == [(1, "x")]

    def test_prepare_by_many_at_once(self, place: Place, sinks: Callable[[], Sink]) -> None:
        """Lanes that start together all find their tables made."""
        failed: list[BaseException] = []

        def start() -> None:
            try:
                sinks()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [], failed
        assert place.rows("ks.users") == []

    # --- the lane --------------------------------------------------------------------------------------------------

    def test_no_state_before_the_first_claim(self, place: Place, sinks: Callable[[], Sink]) -> None:
        """A lane that never ran has no row, not even a table to look into."""
        stranger = place.sink()
        assert stranger.state(ONE) is None
        stranger.close()
        assert sinks().state(ONE) is None

    def test_claim_raises_the_epoch(self, sink: Sink) -> None:
        """Every claim is younger than the one before, and starts where the lane stands."""
        first = sink.claim(ONE, "run 1")
        moved = self.apply(sink, first, user(1, "x"))
        second = sink.claim(ONE, "run 2")
        assert (first.epoch, first.position, first.events_processed) == (1, START, 0)
        assert (second.epoch, second.position, second.run_id) == (2, moved.position, "run 2")

    def test_rows_and_offset_move_together(self, sink: Sink, place: Place) -> None:
        """After a batch the offset stands behind it, and its changes are counted."""
        state = self.apply(sink, sink.claim(ONE, "run"), user(1, "x"))
        assert (state.position, state.events_processed) == (AT_10, 1)
        assert sink.state(ONE) == state
        state = self.apply(sink, state, user(2, "y"), AT_20)
        assert (state.position, state.events_processed) == (AT_20, 2)
        assert place.rows("ks.users") == [(1, "x"), (2, "y")]

    def test_an_empty_batch_moves_the_offset(self, sink: Sink) -> None:
        """What was filtered is passed."""
        state = sink.apply(sink.claim(ONE, "run"), [], [], AT_20, 0)
        assert (state.position, state.events_processed) == (AT_20, 0)

    def test_an_error_in_the_middle_moves_nothing(self, sink: Sink, place: Place) -> None:
        """When the second of two batches cannot be had, the offset stays, and the first is not there either where a
        micro-batch is atomic; the lane goes on."""
        held = sink.claim(ONE, "run")

        def batches() -> Iterator[Encoded]:
            yield self.encoded(sink, user(1, "x"))
            raise KeyError("the second")

        with pytest.raises(KeyError):
            sink.apply(held, batches(), [letter()], AT_10, 2)
        assert sink.state(ONE) == held
        if place.atomic:
            assert (place.rows("ks.users"), sink.dead_letters()) == ([], [])
        assert self.apply(sink, held, user(1, "x")).events_processed == 1
        assert place.rows("ks.users") == [(1, "x")]

    def test_a_connection_lost_in_the_middle_moves_nothing(self, sink: Sink, place: Place) -> None:
        """A broken connection is worth another try with the same state, which then succeeds, nothing twice."""
        held = sink.claim(ONE, "run")
        one, two = self.encoded(sink, user(1, "x")), self.encoded(sink, user(2, "y"))

        def batches() -> Iterator[Encoded]:
            yield one
            place.disconnect()
            yield two

        with pytest.raises(TransientSinkError):
            sink.apply(held, batches(), [letter()], AT_10, 2)
        place.reconnect()
        assert sink.state(ONE) == held
        if place.atomic:
            assert place.rows("ks.users") == []
        assert sink.apply(held, [one, two], [letter()], AT_10, 2).events_processed == 2
        assert place.rows("ks.users") == [(1, "x"), (2, "y")]
        assert [one.retry_count for one in sink.dead_letters()] == [0]

    def test_an_older_writer_loses_the_lane(self, sinks: Callable[[], Sink], place: Place) -> None:
        """Once another has claimed, the older writes nothing more and is told so; the younger goes on."""
        old, young = sinks(), sinks()
        held_by_old = self.apply(old, old.claim(ONE, "old"), user(1, "x"))
        held_by_young = young.claim(ONE, "young")
        with pytest.raises(LaneLost):
            self.apply(old, held_by_old, user(2, "lost"), AT_20)
        assert place.rows("ks.users") == [(1, "x")]
        assert self.apply(young, held_by_young, user(2, "y"), AT_20).events_processed == 2
        assert place.rows("ks.users") == [(1, "x"), (2, "y")]

    def test_a_lost_commit_reply_counts_once(self, sink: Sink, place: Place) -> None:
        """When the connection broke after the commit, the same batch again is seen to be there, and counts once."""
        held = sink.claim(ONE, "run")
        committed = self.apply(sink, held, user(1, "x"))
        place.disconnect()
        with pytest.raises(TransientSinkError):
            sink.state(ONE)
        place.reconnect()
        assert self.apply(sink, held, user(1, "x")) == committed
        assert sink.state(ONE) == committed

    def test_a_batch_again_is_seen_to_be_there(self, sink: Sink) -> None:
        """The same batch of the same writer counts once, also on a connection that never broke."""
        held = sink.claim(ONE, "run")
        committed = self.apply(sink, held, user(1, "x"))
        assert self.apply(sink, held, user(1, "x")) == committed
        assert sink.state(ONE) == committed

    def test_a_batch_from_elsewhere_is_refused(self, sink: Sink, place: Place) -> None:
        """The compare-and-set stops a writer that does not know where the lane stands."""
        held = sink.claim(ONE, "run")
        self.apply(sink, held, user(1, "x"))
        with pytest.raises(LaneLost, match="expected epoch 1 at"):
            self.apply(sink, held, user(2, "y"), AT_20)
        assert place.rows("ks.users") == [(1, "x")]

    def test_lanes_are_independent(self, sinks: Callable[[], Sink], place: Place) -> None:
        """Two shards have a row each and do not fence one another, though they write the same tables."""
        first, second = sinks(), sinks()
        held, other = first.claim(ONE, "run"), second.claim(OTHER, "run")
        held = self.apply(first, held, user(1, "x"), AT_20)
        other = self.apply(second, other, user(1, "younger", ts=2), AT_10)
        assert (held.position, other.position) == (AT_20, AT_10)
        assert (held.epoch, other.epoch) == (1, 1)
        assert self.apply(first, held, user(2, "y"), AT_20).events_processed == 2
        assert place.rows("ks.users") == [(1, "younger"), (2, "y")]

    def test_lanes_write_at_once(self, sinks: Callable[[], Sink], place: Place) -> None:
        """Two lanes that load the same keys at the same time, as replicas do, both end, and the greater wins."""
        failed: list[BaseException] = []

        def run(lane: Lane, ts: int) -> None:
            try:
                sink = sinks()
                held = sink.claim(lane, "run")
                for number in range(10):
                    changes = [
                        Change((int_bytes(n),), cells=(Cell("name", ts, f"{ts}-{n}".encode()),), live=ts)
                        for n in range(50)
                    ]
                    encoded = self.encoded(sink, batch(USERS, changes if ts == 1 else changes[::-1]))
                    held = sink.apply(held, [encoded], [], Position("CommitLog-7-1.log", number + 1), 50)
                assert held.events_processed == 500
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=args) for args in ((ONE, 1), (OTHER, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [], failed
        assert place.rows("ks.users") == [(n, f"2-{n}") for n in range(50)]

    # --- backfills and dead letters --------------------------------------------------------------------------------

    def test_load_leaves_the_offset(self, sink: Sink, place: Place) -> None:
        """A backfill's rows are there, twice over if it likes, and the lane stands where it stood."""
        held = self.apply(sink, sink.claim(ONE, "run"), user(1, "x"))
        for _ in range(2):
            sink.load(ONE, [self.encoded(sink, user(2, "y"))], [letter()], AT_20)
        assert sink.state(ONE) == held
        assert place.rows("ks.users") == [(1, "x"), (2, "y")]
        assert [one.retry_count for one in sink.dead_letters()] == [1]

    def test_segments_that_were_read(self, sink: Sink) -> None:
        """Drains and backfills both leave the names of the segments they read, per lane."""
        self.apply(sink, sink.claim(ONE, "run"), user(1, "x"))
        sink.load(ONE, [], [], Position("CommitLog-7-9.log", 5))
        assert sink.segments(ONE) == {"CommitLog-7-1.log", "CommitLog-7-9.log"}
        assert sink.segments(OTHER) == frozenset()

    def test_dead_letters_come_with_the_rows(self, sink: Sink, sinks: Callable[[], Sink]) -> None:
        """A letter is stored with its batch, with everything it says; a writer that lost the lane stores none."""
        held = sink.claim(ONE, "run")
        sink.apply(held, [], [letter("a")], AT_10, 1)
        (stored,) = sink.dead_letters()
        assert stored == DeadLetterEvent(**{**vars(letter("a")), "failed_at": stored.failed_at})
        sinks().claim(ONE, "other")
        with pytest.raises(LaneLost):
            sink.apply(held, [], [letter("b")], AT_20, 1)
        assert [one.id for one in sink.dead_letters()] == [letter("a").id]

    def test_dead_letters_can_be_asked_for(self, sink: Sink) -> None:
        """They are counted by table and reason and listed by either."""
        sink.load(ONE, [], [letter("a"), letter("b")], AT_10)
        (count,) = sink.dead_letter_counts()
        assert (count.table, count.reason, count.letters) == ("ks.users", "VALUE_OUT_OF_RANGE", 2)
        assert len(sink.dead_letters("ks.users", "VALUE_OUT_OF_RANGE")) == 2
        assert len(sink.dead_letters(limit=1)) == 1
        assert sink.dead_letters("ks.events") == sink.dead_letters(reason="MASKING_FAILED") == []

    def test_a_try_leaves_nothing(self, sink: Sink, place: Place) -> None:
        """What a server takes can be asked without loading it, and loaded afterwards."""
        encoded = self.encoded(sink, user(1, "x"))
        assert sink.refusal(encoded) is None
        assert place.rows("ks.users") == []
        sink.load(ONE, [encoded], [], AT_10)
        assert place.rows("ks.users") == [(1, "x")]

    # --- truncations and tables that change ------------------------------------------------------------------------

    def test_a_truncation_empties_the_table(self, sink: Sink, place: Place) -> None:
        """What was written at or before it is gone, what is younger stays; both when it comes again."""
        held = self.apply(sink, sink.claim(ONE, "run"), user(1, "old", ts=5))
        held = self.apply(sink, held, user(2, "young", ts=9), AT_20)
        for _ in range(2):
            sink.load(ONE, [], [], AT_20, [Truncation(USERS, 5)])
            assert place.rows("ks.users") == [(2, "young")]

    def test_a_late_older_write_stays_gone(self, sink: Sink, place: Place) -> None:
        """A write of before the truncation that comes behind it, by a replay or another node, shows nothing."""
        sink.load(ONE, [], [], AT_10, [Truncation(USERS, 5)])
        held = self.apply(sink, sink.claim(ONE, "run"), user(1, "late", ts=5))
        assert place.rows("ks.users") == []
        self.apply(sink, held, user(1, "young", ts=6), AT_20)
        assert place.rows("ks.users") == [(1, "young")]
        sink.load(ONE, [], [], AT_10, [Truncation(USERS, 4)])
        assert place.rows("ks.users") == [(1, "young")]

    def test_a_truncation_moves_with_its_batch(self, sink: Sink, place: Place) -> None:
        """It is there with the rows, the letters and the offset of its micro-batch, where atomic or not at all."""
        held = self.apply(sink, sink.claim(ONE, "run"), user(1, "x", ts=5))

        def batches() -> Iterator[Encoded]:
            yield self.encoded(sink, user(2, "y", ts=9))
            raise KeyError("the second")

        with pytest.raises(KeyError):
            sink.apply(held, batches(), [], AT_20, 1, [Truncation(USERS, 7)])
        if place.atomic:
            assert place.rows("ks.users") == [(1, "x")]
        state = sink.apply(held, [self.encoded(sink, user(2, "y", ts=9))], [], AT_20, 1, [Truncation(USERS, 7)])
        assert (state.position, place.rows("ks.users")) == (AT_20, [(2, "y")])

    def test_a_truncation_of_a_table_that_is_not_loaded(self, sink: Sink, place: Place) -> None:
        """It is remembered, for the table may be loaded later."""
        other = table("later", key=[("id", "int")], regular=[("name", "text")])
        sink.load(ONE, [], [], AT_10, [Truncation(other, 5)])
        sink.prepare([(other, TableMasks(POLICY, other))])
        masks = {**MASKS, other.full_name: TableMasks(POLICY, other)}
        for number, ts in ((1, 5), (2, 6)):
            change = Change((int_bytes(number),), cells=(Cell("name", ts, b"x"),), live=ts)
            encoded = Fitter(ONE, lambda one: masks[one.full_name], sink).fit(batch(other, [change])).encoded
            sink.load(ONE, [encoded], [], AT_20)
        assert place.rows("ks.later") == [(2, "x")]

    # --- counters --------------------------------------------------------------------------------------------------

    def test_a_counter_is_the_sum_of_its_writers(self, sink: Sink, place: Place) -> None:
        """Of each writer the greatest clock counts, whatever came last, and how often."""
        later, earlier, other = hits(3, (1, 30, 7)), hits(1, (1, 10, 5)), hits(2, (2, 20, -9))
        for one in (later, other, earlier, later):
            sink.load(ONE, [self.encoded(sink, one)], [], AT_10)
        assert place.rows("ks.hits") == [(1, 1, -2)]

    def test_a_counter_wraps(self, sink: Sink, place: Place) -> None:
        """As Cassandra's does, in 64 bits."""
        sink.load(ONE, [self.encoded(sink, hits(1, (1, 1, 2**63 - 1), (2, 1, 2)))], [], AT_10)
        assert place.rows("ks.hits") == [(1, 1, -(2**63) + 1)]

    def test_a_deleted_counter_stays_deleted(self, sink: Sink, place: Place) -> None:
        """A deletion of the column hides what comes later, too, until the row is deleted and counted on."""
        gone = batch(HITS, [Change((int_bytes(1),), (int_bytes(1),), (Cell("n", 5),))])
        row_gone = batch(HITS, [Change((int_bytes(1),), (int_bytes(1),), deleted=7)])
        for one in (hits(6, (1, 6, 6)), gone):
            sink.load(ONE, [self.encoded(sink, one)], [], AT_10)
        assert place.rows("ks.hits") == []
        for one in (hits(8, (1, 8, 8)), row_gone):
            sink.load(ONE, [self.encoded(sink, one)], [], AT_10)
        assert place.rows("ks.hits") == [(1, 1, 8)]

    def test_a_truncated_counter_begins_anew(self, sink: Sink, place: Place) -> None:
        """What was counted before is gone, also when it comes late."""
        sink.load(ONE, [self.encoded(sink, hits(5, (1, 5, 5), (2, 5, 5)))], [], AT_10)
        sink.load(ONE, [], [], AT_20, [Truncation(HITS, 7)])
        assert place.rows("ks.hits") == []
        for one in (hits(9, (1, 9, 1)), hits(5, (2, 5, 5))):
            sink.load(ONE, [self.encoded(sink, one)], [], AT_20)
        assert place.rows("ks.hits") == [(1, 1, 1)]

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            (b"\x00\x01\x80\x00", "expected a counter context of whole shards, found 4 bytes"),
            (b"\x00\x00" + bytes(32), "expected global shards alone, found one of before Cassandra 2.1"),
        ],
    )
    def test_a_context_that_is_none_is_parked_alone(self, sink: Sink, place: Place, raw: bytes, why: str) -> None:
        """Its change, and not the others of its row or batch."""
        bad = Change((int_bytes(1),), (int_bytes(1),), (Cell("n", 2, raw),))
        good = Change((int_bytes(1),), (int_bytes(1),), (Cell("n", 1, context((1, 1, 4))),))
        other = Change((int_bytes(1),), (int_bytes(2),), (Cell("n", 1, context((1, 1, 5))),))
        fitted = Fitter(ONE, lambda table: MASKS[table.full_name], sink).fit(batch(HITS, [good, bad, other]))
        sink.load(ONE, [fitted.encoded], fitted.letters, AT_10)
        (parked,) = sink.dead_letters()
        assert (parked.reason, why in parked.message) == (FailureReason.VALUE_OUT_OF_RANGE, True)
        assert place.rows("ks.hits") == [(1, 1, 4), (1, 2, 5)]

    # --- tables that change ----------------------------------------------------------------------------------------

    def test_a_table_made_again(self, sink: Sink, place: Place) -> None:
        """A table of another id under the same name begins empty; changes of the old one show no more."""
        self.apply(sink, sink.claim(ONE, "run"), user(1, "old"))
        again = dataclasses.replace(USERS, id=uuid.uuid4())
        sink.prepare([(again, TableMasks(POLICY, again))])
        assert place.rows("ks.users") == []
        sink.load(ONE, [self.encoded(sink, user(2, "old"))], [], AT_10)
        sink.prepare([(masks.table, masks) for masks in MASKS.values()])
        assert place.rows("ks.users") == []

    def test_a_column_added_again(self, sink: Sink, place: Place) -> None:
        """A column that was dropped and added again, even with another type, has nothing of before."""
        held = self.apply(sink, sink.claim(ONE, "run"), user(1, "old", ts=5))
        text = next(column for column in USERS.columns if column.name == "name")
        changed = dataclasses.replace(text, type=Scalar("blob"))
        gone = DroppedColumn("name", text.kind, text.type, 7)
        again = dataclasses.replace(
            USERS, columns=(*USERS.partition_key, changed), dropped=(gone,), version=8, flags=frozenset({"compound"})
        )
        sink.prepare([(again, TableMasks(POLICY, again))])
        assert place.rows("ks.users") == [(1, None)]
        self.apply(sink, held, user(2, "late", ts=6), AT_20)
        assert place.rows("ks.users") == [(1, None), (2, None)]

    # --- connections -----------------------------------------------------------------------------------------------

    def test_rows_are_counted(self, sink: Sink) -> None:
        """The number of rows that users see."""
        sink.load(ONE, [self.encoded(sink, user(1, "x"))], [], AT_10)
        assert sink.row_count("ks.users") == 1
        assert sink.row_count("ks.events") == 0

    def test_a_closed_sink_opens_again(self, sink: Sink) -> None:
        """Closing twice is harmless, and the next call connects."""
        held = sink.claim(ONE, "run")
        sink.close()
        sink.close()
        assert self.apply(sink, held, user(1, "x")).events_processed == 1

    def test_no_server_is_worth_another_try(self, place: Place) -> None:
        """A server that does not answer is a transient error, whatever is asked of it."""
        sink = place.unreachable()
        for call in (
            lambda: sink.prepare([]),
            lambda: sink.claim(ONE, "run"),
            lambda: sink.state(ONE),
            lambda: sink.load(ONE, [], [], AT_10),
            lambda: sink.apply(LaneState(ONE), [], [], AT_10, 0),
            lambda: sink.dead_letters(),
        ):
            with pytest.raises(TransientSinkError, match=r"destination warehouse.*: .* the server cannot be reached"):
                call()
