from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.change import (
    START,
    Bound,
    CellKind,
    ChangeEvent,
    EventType,
    Position,
    RowKind,
    SegmentName,
    parse_segment_name,
)
from cdc_pipeline.decode import Decoder
from cdc_pipeline.schema import TableFilter
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import KEY, MICROS, NOW, T, decode, insert, make_table
from cdc_pipeline_tests.recordings import Recording, opener

A = en.clustering([b"a"])
GONE = en.BASE.deletion(MICROS, NOW)
LIVE = en.Liveness(MICROS)


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


def events(folder: Path, *rows: bytes, **more: Any) -> list[ChangeEvent]:
    """The events of an update of `T`."""
    mutation = en.mutation(en.update(T.id.bytes, KEY, rows, **more))
    return [event for batch in decode(folder, mutation) for change in batch.tables for event in change.events()]


# --- names and positions ---------------------------------------------------------------------------------------------


def test_segment_names() -> None:
    """Version and id of a segment's name; None for every other file of the folder."""
    assert parse_segment_name("CommitLog-7-1700000000001.log") == SegmentName(7, 1700000000001)
    others = ["CommitLog-7-1_cdc.idx", "CommitLog-1.log", "CommitLog-7-x.log", "x", "", "CommitLog-7-1.log.tmp"]
    assert [parse_segment_name(name) for name in others] == [None] * len(others)


def test_positions_are_ordered_by_id_then_offset() -> None:
    """The id is a number, not a text; the version does not count; the start is before everything."""
    ordered = [
        START,
        Position("CommitLog-7-9.log", 1),
        Position("CommitLog-7-9.log", 2),
        Position("CommitLog-8-10.log", 0),
        Position("CommitLog-7-11.log", 0),
        Position("CommitLog-7-1700000000001.log", 20),
    ]
    assert sorted([*ordered[3:], *ordered[:3]]) == ordered
    assert all(before < after and after >= before for before, after in pairwise(ordered))
    assert Position("CommitLog-7-9.log", 1) == Position("CommitLog-7-9.log", 1)


def test_position_as_text() -> None:
    """A position prints as segment and offset."""
    assert str(Position("CommitLog-7-9.log", 81920)) == "CommitLog-7-9.log:81920"


# --- what an event says: section 8.3 of the format document ----------------------------------------------------------

TOMBSTONE = en.cell(None, at=MICROS, local=NOW)
BEFORE = en.BASE.deletion(MICROS - 1, NOW)
NEW_MAP = en.collection([en.cell(en.number(7, 4), at=MICROS, path=b"k")], BEFORE)

STATEMENTS: dict[str, tuple[EventType, dict[str, Any]]] = {
    "DELETE of the partition": (EventType.PARTITION_DELETE, {"deletion": GONE}),
    "DELETE of a range": (
        EventType.RANGE_DELETE,
        {"rows": [en.bound(en.INCL_START, [b"a"], GONE), en.bound(en.EXCL_END, [b"b"], GONE)]},
    ),
    "DELETE of a row": (EventType.DELETE, {"rows": [en.row(A, deletion=GONE)]}),
    "INSERT": (EventType.INSERT, {"rows": [en.row(A, [en.cell(b"x")], live=LIVE)], "columns": ["v"]}),
    "INSERT of a key alone": (EventType.INSERT, {"rows": [en.row(A, live=LIVE)]}),
    "INSERT with an explicit null": (EventType.INSERT, {"rows": [en.row(A, [TOMBSTONE], live=LIVE)], "columns": ["v"]}),
    "UPDATE": (EventType.UPDATE, {"rows": [en.row(A, [en.cell(b"x", at=MICROS)])], "columns": ["v"]}),
    "UPDATE to null": (EventType.UPDATE, {"rows": [en.row(A, [TOMBSTONE])], "columns": ["v"]}),
    "a map assigned": (EventType.UPDATE, {"rows": [en.row(A, [NEW_MAP], flags=0x40)], "columns": ["m"]}),
    "a map set to null": (
        EventType.UPDATE,
        {"rows": [en.row(A, [en.collection([], BEFORE)], flags=0x40)], "columns": ["m"]},
    ),
    "an element put": (
        EventType.UPDATE,
        {"rows": [en.row(A, [en.collection([en.cell(en.number(7, 4), at=MICROS, path=b"k")])])], "columns": ["m"]},
    ),
    "an element removed": (
        EventType.UPDATE,
        {"rows": [en.row(A, [en.collection([en.cell(None, at=MICROS, local=NOW, path=b"k")])])], "columns": ["m"]},
    ),
    "a static column": (
        EventType.UPDATE,
        {"static_columns": ["s"], "static": en.static_row([en.cell(b"x", at=MICROS)])},
    ),
    "DELETE and INSERT in one batch": (EventType.INSERT, {"rows": [en.row(A, live=LIVE, deletion=BEFORE)]}),
    "DELETE and UPDATE in one batch": (
        EventType.UPDATE,
        {"rows": [en.row(A, [en.cell(b"x", at=MICROS)], deletion=BEFORE)], "columns": ["v"]},
    ),
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_event_types(tmp_path: Path, statement: str) -> None:
    """Each row of the document's table of operations is one event of the type that can be told."""
    event_type, how = STATEMENTS[statement]
    (event,) = events(tmp_path, *how.get("rows", []), **{k: v for k, v in how.items() if k != "rows"})
    assert event.event_type is event_type
    assert (event.keyspace, event.table_name, event.partition_key) == ("ks", "t", {"pk": KEY})
    assert event.is_static is (statement == "a static column")
    keyed = "static" not in statement and "partition" not in statement and "range" not in statement
    assert event.clustering_key == ({"ck": b"a"} if keyed else {})
    assert event.timestamp_micros == MICROS - (statement == "a map set to null")


def test_several_changes_of_one_update(tmp_path: Path) -> None:
    """One update gives an event per change, in order, all at one position."""
    rows = [
        en.row(A, [en.cell(b"x")], live=LIVE),
        en.bound(en.INCL_START, [b"b"], GONE),
        en.bound(en.EXCL_END_INCL_START, [b"c"], GONE, GONE),
        en.bound(en.INCL_END, [], GONE),
    ]
    found = events(tmp_path, *rows, columns=["v"], deletion=BEFORE)
    assert [event.event_type.value for event in found] == ["partition_delete", "insert", "range_delete", "range_delete"]
    assert len({event.event_id for event in found}) == 4
    assert len({event.position for event in found}) == 1
    assert (found[2].start, found[2].end) == (Bound((b"b",), True), Bound((b"c",), False))
    assert (found[3].start, found[3].end) == (Bound((b"c",), True), Bound((), True))
    assert found[0].start is found[0].end is None


def test_update_that_says_nothing_is_no_event(tmp_path: Path) -> None:
    """IS_EMPTY makes no event, and does not count."""
    (batch,) = decode(tmp_path, en.mutation(en.empty_update(T.id.bytes, KEY)))
    (change,) = batch.tables
    assert list(change.events()) == []
    assert change.changes == 0
    assert change.rows.column("kind").to_pylist() == [RowKind.NOTHING]


def test_timestamps_of_cells_and_rows(tmp_path: Path) -> None:
    """Each cell has its own timestamp; the row's is its liveness, else the greatest of its cells and its deletion."""
    cells = [en.cell(b"x", at=MICROS + 7), en.collection([en.cell(en.number(1, 4), at=MICROS + 3, path=b"k")])]
    (with_liveness,) = events(tmp_path, en.row(A, cells, live=LIVE), columns=["v", "m"])
    assert [cell.timestamp_micros for cell in with_liveness.cells] == [MICROS + 7, MICROS + 3]
    assert with_liveness.timestamp_micros == MICROS
    (without,) = events(tmp_path, en.row(A, cells), columns=["v", "m"])
    assert without.timestamp_micros == MICROS + 7
    (deleted,) = events(tmp_path, en.row(A, deletion=en.BASE.deletion(MICROS + 9, NOW)))
    assert (deleted.timestamp_micros, deleted.deleted_micros) == (MICROS + 9, MICROS + 9)
    assert without.deleted_micros is None


def test_negative_timestamps(tmp_path: Path) -> None:
    """Clients may send any timestamp."""
    (event,) = events(tmp_path, en.row(A, [en.cell(b"x", at=-5)]), columns=["v"])
    assert event.timestamp_micros == event.cells[0].timestamp_micros == -5


def test_ttl(tmp_path: Path) -> None:
    """The TTL is the row's, else a cell's; a tombstone has none."""
    live = en.Liveness(MICROS, 60, NOW + 60)
    (row,) = events(tmp_path, en.row(A, [en.cell(b"x", flags=en.ROW_TTL)], live=live), columns=["v"])
    assert (row.ttl_seconds, row.cells[0].ttl_seconds, row.cells[0].local_seconds) == (60, 60, NOW + 60)
    (cell,) = events(tmp_path, en.row(A, [en.cell(b"x", at=MICROS, ttl=9, local=NOW + 9)]), columns=["v"])
    assert (cell.ttl_seconds, cell.cells[0].kind) == (9, CellKind.EXPIRING)
    (none,) = events(tmp_path, en.row(A, [TOMBSTONE]), columns=["v"])
    assert (none.ttl_seconds, none.cells[0].ttl_seconds, none.cells[0].local_seconds) == (None, None, NOW)
    (forever,) = events(tmp_path, en.row(A, [en.cell(b"x")], live=LIVE), columns=["v"])
    assert (forever.ttl_seconds, forever.cells[0].local_seconds) == (None, None)


def test_columns(tmp_path: Path) -> None:
    """Columns by name: bytes, None where deleted, and multi-cell ones by path."""
    table = make_table("all", regular=[("a", "text"), ("b", "text"), ("m", "map<text, int>"), ("n", "map<text, int>")])
    cells = [
        en.cell(b"x", at=MICROS),
        TOMBSTONE,
        en.collection(
            [en.cell(en.number(1, 4), at=MICROS, path=b"k"), en.cell(None, at=MICROS, local=NOW, path=b"l")], BEFORE
        ),
        en.collection([], BEFORE),
    ]
    update = en.update(table.id.bytes, KEY, [en.row(A, cells, flags=0x40)], columns=["a", "b", "m", "n"])
    (batch,) = decode(tmp_path, en.mutation(update), tables=[table])
    (event,) = batch.tables[0].events()
    assert event.columns == {"a": b"x", "b": None, "m": {b"k": en.number(1, 4), b"l": None}, "n": None}
    kinds = [(cell.column, cell.kind) for cell in event.cells]
    assert kinds == [
        ("a", CellKind.LIVE),
        ("b", CellKind.TOMBSTONE),
        ("m", CellKind.COLUMN_DELETION),
        ("m", CellKind.LIVE),
        ("m", CellKind.TOMBSTONE),
        ("n", CellKind.COLUMN_DELETION),
    ]


def test_captured_at(tmp_path: Path) -> None:
    """When a change was read, timezone-aware, in UTC."""
    (event,) = events(tmp_path, en.row(A, live=LIVE))
    assert event.captured_at.tzinfo is dt.UTC
    assert abs(dt.datetime.now(dt.UTC) - event.captured_at) < dt.timedelta(minutes=1)


# --- identity --------------------------------------------------------------------------------------------------------


def test_event_ids_are_known(tmp_path: Path) -> None:
    """The id of a change is a name-based UUID that every later version gives too: it stands in dead letters."""
    (batch,) = decode(tmp_path, insert())
    (event,) = batch.tables[0].events()
    assert event.event_id == uuid.UUID("1a3508f8-b45a-5047-b08d-b499c7ad476f")
    assert event.event_id.version == 5


@pytest.mark.parametrize("name", ["tombstones-5.0", "random-5.0-s1"])
def test_event_ids_are_deterministic(open_recording: Callable[[str], Recording], name: str) -> None:
    """However a recording is cut into batches and wherever a reading begins, a change has the same id, and its own."""
    recording = open_recording(name)
    paths = recording.main.segments()

    def ids(path: Path, max_rows: int, after: int = 0) -> list[uuid.UUID]:
        decoder = Decoder(recording.schema, TableFilter().selects, max_rows=max_rows)
        batches = decoder.read(path, after)
        return [event.event_id for batch in batches for change in batch.tables for event in change.events()]

    everything = [one for path in paths for one in ids(path, 10**6)]
    assert len(set(everything)) == len(everything) > 1000
    cut = [one for path in paths for one in ids(path, 50)]
    assert sorted(cut) == sorted(everything)
    path = max(paths, key=lambda one: len(ids(one, 10**6)))
    (whole,) = Decoder(recording.schema, TableFilter().selects).read(path)
    later = [e for change in whole.tables for e in change.events() if e.position.offset > whole.end // 2]
    assert sorted(ids(path, 77, whole.end // 2)) == sorted(event.event_id for event in later)


def test_events_chosen_by_index(tmp_path: Path) -> None:
    """Events of some rows alone have the ids, cells and bounds that they have among all."""
    rows = [
        en.row(A, [en.cell(b"x")], live=LIVE),
        en.bound(en.INCL_START, [b"b"], GONE),
        en.bound(en.EXCL_END_INCL_START, [b"c"], GONE, GONE),
        en.bound(en.INCL_END, [], GONE),
    ]
    (batch,) = decode(tmp_path, en.mutation(en.update(T.id.bytes, KEY, rows, columns=["v"])), insert())
    (change,) = batch.tables
    everything = dict(change.indexed_events())
    assert list(everything) == [0, 1, 2, 3]
    assert dict(change.indexed_events({2, 3})) == {index: everything[index] for index in (2, 3)}
    assert list(change.events()) == list(everything.values())


def test_real_events(open_recording: Callable[[str], Recording]) -> None:
    """Every kind of event occurs in a recording of deletions, with its keys and in the order of the log."""
    recording = open_recording("tombstones-5.0")
    decoder = Decoder(recording.schema, lambda table: table.cdc)
    seen: set[EventType] = set()
    for path in recording.main.segments():
        for batch in decoder.read(path):
            for change in batch.tables:
                found = list(change.events())
                assert len(found) == change.changes
                assert [e.position for e in found] == sorted(e.position for e in found)
                assert all(set(e.partition_key) == {c.name for c in change.table.partition_key} for e in found)
                seen.update(event.event_type for event in found)
    assert seen == set(EventType)
