"""From decoded changes to what goes: a change that cannot go on is parked alone, and the counts come out even."""

from __future__ import annotations

import itertools
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdc_pipeline.change import Bound, ChangeBatch, Damage, RowKind
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.dlq import DeadLetterEvent
from cdc_pipeline.errors import EntryError, PermanentSinkError
from cdc_pipeline.load import Encoded
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingRules
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import LANE, Destination, end_of, state_of
from cdc_pipeline_tests.types.values import decimal_bytes, int_bytes

Make = Callable[..., Destination]

WHOLE, HALF = struct.pack(">q", 5_000), struct.pack(">q", 5_001)
"""Times of day in ns: one of whole µs, one that PostgreSQL's `time` cannot hold."""

OF_TIME = table("clock", clustering=[("ck", "int")], static=[("s", "time")], regular=[("v", "time"), ("w", "int")])
BY_TIME = table("by_time", key=[("pk", "time")], clustering=[("ck", "time")], regular=[("w", "int")])


@pytest.fixture
def make(pg_database: str) -> Iterator[Make]:
    """A function that prepares tables in a fresh database."""
    made: list[Destination] = []

    def prepared(*tables: Table, **how: Any) -> Destination:
        made.append(Destination(pg_database, tables, **how).prepare())
        return made[-1]

    yield prepared
    for one in made:
        one.sink.close()


def row(key: int, ck: int, v: bytes | None = WHOLE, *, w: int = 0, ts: int = 1) -> Change:
    """An INSERT into `OF_TIME`."""
    return Change((int_bytes(key),), (int_bytes(ck),), (Cell("v", ts, v), Cell("w", ts, int_bytes(w))), live=ts)


def reasons(letters: Sequence[DeadLetterEvent]) -> list[str]:
    return [str(letter.reason) for letter in letters]


def test_only_the_change_that_does_not_fit(make: Make) -> None:
    """A value out of range parks its own change; other changes of that row, and the rest of the batch, go."""
    there = make(OF_TIME)
    changes = [row(1, 1), row(1, 2, HALF), row(1, 2, w=7, ts=0), row(2, 1)]
    letters = there.load(batch(OF_TIME, changes))
    assert reasons(letters) == ["VALUE_OUT_OF_RANGE"]
    assert letters[0].message == (
        "column ks.clock.v: time does not fit time without time zone: nanoseconds that are no whole microsecond"
    )
    assert (letters[0].keyspace, letters[0].table, letters[0].position.offset) == ("ks", "clock", 200)
    assert there.query("SELECT pk, ck, w FROM ks.clock ORDER BY 1, 2") == [(1, 1, 0), (1, 2, 7), (2, 1, 0)]


def test_a_superseded_change_is_judged_too(make: Make) -> None:
    """A value that another of the batch overwrites is parked all the same, as it would be in a batch of its own."""
    there = make(OF_TIME)
    together = [row(1, 1, HALF, w=1, ts=1), row(1, 1, WHOLE, w=2, ts=2)]
    assert reasons(there.load(batch(OF_TIME, together))) == ["VALUE_OUT_OF_RANGE"]
    assert there.query("SELECT w FROM ks.clock") == [(2,)]


def test_every_place_of_a_value_is_judged(make: Make) -> None:
    """Partition keys, clusterings, statics, keys of range and partition deletions: each parks its change alone."""
    there = make(OF_TIME, BY_TIME)
    everything = (Bound((), True), Bound((), True))
    keyed = [
        Change((HALF,), (WHOLE,), live=1),
        Change((WHOLE,), (HALF,), live=1),
        Change((WHOLE,), (WHOLE,), live=5),
        Change((HALF,), kind=RowKind.PARTITION, deleted=3),
        Change((HALF,), kind=RowKind.RANGE, deleted=3, bounds=everything),
        Change((HALF,), kind=RowKind.RANGE, deleted=4, bounds=everything),
        Change((WHOLE,), kind=RowKind.RANGE, deleted=3, bounds=everything),
        Change((WHOLE,), kind=RowKind.RANGE, deleted=4, bounds=(Bound((HALF,), True), Bound((HALF,), True))),
    ]
    static = Change((int_bytes(1),), kind=RowKind.STATIC, cells=(Cell("s", 1, HALF),))
    assert [letter.position.offset for letter in there.load(batch(BY_TIME, keyed))] == [100, 200, 400, 500, 600]
    assert reasons(there.load(batch(OF_TIME, [static, row(1, 1)]))) == ["VALUE_OUT_OF_RANGE"]
    assert there.query("SELECT count(*) FROM ks.by_time") == there.query("SELECT count(*) FROM ks.clock") == [(1,)]


def test_bytes_that_are_none_of_the_type(make: Make) -> None:
    """Values, clusterings and bounds that no reader of their type takes are parked, and nothing else."""
    of = table(
        "odd",
        clustering=[("c", "decimal"), ("d", "frozen<list<int>>")],
        regular=[("v", "decimal"), ("m", "map<int, int>")],
    )
    key, good, bad = (int_bytes(1),), decimal_bytes(5, 1), b"\x00\x01"
    nothing = b"\x00\x00\x00\x00"
    changes = [
        Change(key, (good, nothing), (Cell("v", 1, good),), live=1),
        Change(key, (bad, nothing), live=1),
        Change(key, (bad, nothing), live=1),
        Change(key, (good, b"\x00\x00\x00\x09"), live=1),
        Change(key, (good, nothing), (Cell("v", 2, bad),)),
        Change(key, (good, nothing), (Cell("m", 2, int_bytes(1), b"\x01"),)),
        Change(key, kind=RowKind.RANGE, deleted=9, bounds=(Bound((bad,), True), Bound((), True))),
    ]
    there = make(of)
    assert reasons(there.load(batch(of, changes))) == ["VALUE_OUT_OF_RANGE"] * 6
    assert there.query("SELECT count(*) FROM ks.odd WHERE v = 0.5") == [(1,)]


def test_many_that_fail_take_no_longer(make: Make) -> None:
    """A batch of thousands of changes to one bad key, or one bad cell, is fitted in a few passes."""
    there = make(OF_TIME, BY_TIME)
    passes = 0
    encode = there.sink.encode

    def counted(masked: Any) -> Encoded:
        nonlocal passes
        passes += 1
        return encode(masked)

    there.sink.encode = counted  # type: ignore[method-assign]
    same_cell = [row(1, 1, HALF, ts=ts) for ts in range(3000)]
    same_key = [Change((HALF,), (WHOLE,), live=ts) for ts in range(1500)]
    same_key += [Change((HALF,), kind=RowKind.PARTITION, deleted=ts) for ts in range(1500)]
    assert len(there.fit(batch(OF_TIME, same_cell)).letters) == 3000
    assert len(there.fit(batch(BY_TIME, same_key)).letters) == 3000
    assert passes <= 8


@st.composite
def unfit_histories(draw: st.DrawFn) -> list[Change]:
    """Changes to few rows, some of whose values do not fit."""
    values = st.sampled_from([WHOLE, HALF, None])
    ts = st.integers(1, 4)
    rows_ = st.builds(
        lambda k, c, v, w, t: row(k, c, v, w=w, ts=t), st.integers(1, 2), st.integers(1, 2), values, ts, ts
    )
    statics = st.builds(
        lambda k, v, t: Change((int_bytes(k),), kind=RowKind.STATIC, cells=(Cell("s", t, v),)),
        st.integers(1, 2),
        values,
        ts,
    )
    return draw(st.lists(rows_ | statics, min_size=1, max_size=12))


@given(data=st.data())
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
def test_cuts_make_no_difference(make: Make, data: st.DataObject) -> None:
    """However changes that do not fit are cut into batches, the same ones are parked, and the same state is left."""
    changes = data.draw(unfit_histories())
    found = []
    for _ in range(2):
        there = make(OF_TIME)
        connection = there.sink._open()
        connection.execute("DROP SCHEMA IF EXISTS cdc, ks CASCADE")
        there.prepare()
        cuts = sorted(data.draw(st.sets(st.integers(1, len(changes)), max_size=4)) | {len(changes)})
        parked = 0
        for first, last in itertools.pairwise([0, *cuts]):
            parked += len(there.load(batch(OF_TIME, changes[first:last])))
        assert parked == sum(any(cell.value == HALF for cell in change.cells) for change in changes)
        found.append(state_of(there.conninfo))
        there.sink.close()
    assert found[0] == found[1]


# --- masking ---------------------------------------------------------------------------------------------------------


def test_a_mask_that_fails(make: Make, tmp_path: Path) -> None:
    """A value that cannot be masked parks its change, which then shows the value nowhere."""
    of = table("t", regular=[("email", "decimal"), ("v", "int")])
    there = make(of, rules=MaskingRules(), ring=KeyRing.generate(tmp_path / "keys.json"))
    bad = b"\x00\xca\xfe"
    changes = [
        Change((int_bytes(1),), cells=(Cell("email", 1, bad), Cell("v", 1, int_bytes(9))), live=1),
        Change((int_bytes(2),), cells=(Cell("email", 1, decimal_bytes(1, 0)),), live=1),
    ]
    (letter,) = there.load(batch(of, changes))
    assert str(letter.reason) == "MASKING_FAILED"
    assert letter.message == "column ks.t.email: a value could not be masked"
    assert bad.hex() not in str(letter)
    assert [cell["value"] for cell in letter.event["cells"]] == [
        {"masked": True},
        {"cql_type": "int", "hex": "00000009"},
    ]
    assert there.query("SELECT pk FROM ks.t") == [(2,)]


RANGES = {
    "equality": ((b"a",), True, (b"a",), True, True),
    "equality and a range behind it": ((b"a", int_bytes(1)), False, (b"a",), True, True),
    "a whole partition": ((), True, (), True, True),
    "from": ((b"a",), True, (), True, False),
    "up to": ((), True, (b"a",), False, False),
    "between": ((b"a",), True, (b"b",), True, False),
    "beyond one": ((b"a",), False, (b"a",), True, False),
}


@pytest.mark.parametrize(("start", "from_", "end", "to", "goes"), RANGES.values(), ids=RANGES)
def test_ranges_over_a_masked_column(
    make: Make,
    tmp_path: Path,
    start: tuple[bytes, ...],
    from_: bool,
    end: tuple[bytes, ...],
    to: bool,
    goes: bool,
) -> None:
    """Equality on a masked clustering column goes; an order over it was lost, so that change is parked, and only it."""
    of = table("t", clustering=[("email", "text"), ("ck", "int")], regular=[("v", "int")])
    there = make(of, rules=MaskingRules(), ring=KeyRing.generate(tmp_path / "keys.json"))
    key = (int_bytes(1),)
    rows_ = [Change(key, (name, int_bytes(n)), live=1) for name in (b"a", b"b") for n in (1, 2)]
    deletion = Change(key, kind=RowKind.RANGE, deleted=5, bounds=(Bound(start, from_), Bound(end, to)))
    letters = there.load(batch(of, [*rows_, deletion]))
    assert reasons(letters) == ([] if goes else ["ORDER_LOST_BY_MASK"])
    left = {"equality": 2, "equality and a range behind it": 3, "a whole partition": 0}
    expected = next((left[name] for name, case in RANGES.items() if case[:4] == (start, from_, end, to) and goes), 4)
    assert there.query("SELECT count(*) FROM ks.t") == [(expected,)]


# --- what the server refuses -----------------------------------------------------------------------------------------


def noise(size: int) -> bytes:
    """Text that does not compress, always the same."""
    return b"".join(uuid.uuid5(uuid.NAMESPACE_OID, str(at)).hex.encode() for at in range(size // 32))


def test_rows_that_only_the_server_refuses(make: Make) -> None:
    """Rows too large for the index are found by halving and parked; the others are loaded."""
    of = table("t", key=[("pk", "text")], regular=[("v", "int")])
    there = make(of)
    keys = [b"a", noise(8192), b"b", b"c", noise(16384), b"d", b"e"]
    changes = batch(of, [Change((key,), live=1) for key in keys])
    fitted = there.fitter.fit(changes, probing=True)
    assert [(str(one.reason), one.position.offset) for one in fitted.letters] == [
        ("REFUSED_BY_DESTINATION", 200),
        ("REFUSED_BY_DESTINATION", 500),
    ]
    assert fitted.letters[0].message == "table ks.t: destination warehouse refused the row: SQLSTATE 54000"
    there.sink.load(LANE, [fitted.encoded], fitted.letters, end_of(changes))
    assert there.query("SELECT string_agg(pk, '' ORDER BY pk) FROM ks.t") == [("abcde",)]


def test_a_batch_refused_for_no_row_of_it_stops(make: Make) -> None:
    """When the server refuses a batch but takes each of its rows, nothing is parked and the lane stops."""
    of = table("t", regular=[("v", "int")])
    there = make(of)

    connection = there.sink._open()
    connection.execute(
        """CREATE FUNCTION cdc.alone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT count(*) FROM new) > 1 THEN RAISE EXCEPTION USING ERRCODE = '22000'; END IF; RETURN NULL; END $$"""
    )
    connection.execute(
        'CREATE TRIGGER alone AFTER INSERT ON cdc."ks.t" REFERENCING NEW TABLE AS new '
        "FOR EACH STATEMENT EXECUTE FUNCTION cdc.alone()"
    )
    with pytest.raises(PermanentSinkError, match=r"refused a batch of ks\.t, but none of its rows alone"):
        there.fitter.fit(batch(of, [Change((int_bytes(n),), live=1) for n in range(4)]), probing=True)


# --- counts ----------------------------------------------------------------------------------------------------------


def decoded(*batches: ChangeBatch, mutations: int, damage: Sequence[Damage] = ()) -> DecodedBatch:
    """A micro-batch up to position 10000."""
    return DecodedBatch("CommitLog-7-1.log", 0, 10_000, batches, tuple(damage), mutations, last=True)


def test_counts_come_out_even(make: Make) -> None:
    """Mutations without a change of a loaded table are filtered; changes are applied or parked; damage is apart."""
    there = make(OF_TIME, BY_TIME)
    first = batch(OF_TIME, [row(1, 1), row(1, 2, HALF), Change((int_bytes(1),), kind=RowKind.NOTHING)])
    second = batch(BY_TIME, [Change((WHOLE,), (WHOLE,), live=1)])
    damage = Damage("entry", EntryError("CommitLog-7-1.log", 77, "mutation CRC"), 12)
    prepared = there.fitter.prepare(decoded(first, second, mutations=9, damage=[damage]))
    assert prepared.changes == {"ks.clock": 2, "ks.by_time": 1}
    assert (prepared.events, prepared.mutations, prepared.filtered) == (3, 9, 6)
    assert reasons(prepared.letters) == ["CORRUPT_MUTATION", "VALUE_OUT_OF_RANGE"]
    assert prepared.newest == 1
    assert prepared.position.offset == 10_000


def test_letters_have_the_same_id_when_read_again(make: Make) -> None:
    """The same bytes that fail again are the same letter, of this lane; other positions are others."""
    there = make(OF_TIME)
    changes = batch(OF_TIME, [row(1, 1, HALF), row(1, 2, HALF)])
    first, again = there.fit(changes).letters, there.fit(changes).letters
    assert [letter.id for letter in first] == [letter.id for letter in again]
    assert len({letter.id for letter in first}) == 2


def test_nothing_but_filtered(make: Make) -> None:
    """A micro-batch without a change of a loaded table still has its position and its counts."""
    prepared = make(OF_TIME).fitter.prepare(decoded(mutations=3))
    assert (prepared.events, prepared.filtered, prepared.batches) == (0, 3, [])
