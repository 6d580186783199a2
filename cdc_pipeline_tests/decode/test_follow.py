"""DDL and TRUNCATE read from the log of a real node, against the snapshots that were taken after each statement."""

from __future__ import annotations

import dataclasses
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.change import START, SchemaChange
from cdc_pipeline.decode import DecodedBatch, Decoder, SchemaFollower, dump_lines
from cdc_pipeline.history import Entry, SchemaHistory
from cdc_pipeline.schema import SYSTEM_KEYSPACES, ChangeKind, Schema, Table, load_schema, schema_of
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.recordings import NAMES, Recording

NAME = "schema-changes-5.0"
SNAPSHOTS = range(1, 33)


@pytest.fixture
def recording(open_recording: Callable[[str], Recording]) -> Recording:
    """The node whose schema changed."""
    return open_recording(NAME)


def users(table: Table) -> bool:
    """Wants what people made."""
    return table.keyspace not in SYSTEM_KEYSPACES


def tables_of_users(schema: Schema) -> dict[str, Table]:
    """The tables that people made, by name; without where they were made, which snapshots do not know."""
    return {t.full_name: dataclasses.replace(t, complete_since=None) for t in schema.current if users(t)}


def decoder(recording: Recording, snapshot: str = "schema_history/000.json", **more: Any) -> Decoder:
    """A decoder that follows from one snapshot."""
    return Decoder(load_schema(recording.path / snapshot), users, follow=True, **more)


def read(follower: Decoder, recording: Recording) -> Iterator[DecodedBatch]:
    """All batches of all segments."""
    for path in recording.main.segments():
        yield from follower.read(path)


def events(batches: Iterator[DecodedBatch]) -> list[SchemaChange]:
    """What happened to tables, in order."""
    return [event for batch in batches for event in batch.events]


def test_every_statement_leaves_its_snapshot(recording: Recording) -> None:
    """After each DDL statement there is a place in the log where the schema is what the node's own tables said then."""
    states = [tables_of_users(batch.schema_behind) for batch in read(decoder(recording), recording)]
    at = 0
    for number in SNAPSHOTS:
        path = recording.path / "schema_history" / f"{number:03}.json"
        wanted = tables_of_users(load_schema(path))
        while at < len(states) and states[at] != wanted:
            at += 1
        assert at < len(states), json.loads(path.read_bytes())["statement"]


@pytest.mark.parametrize("name", NAMES)
def test_from_the_nodes_own_tables_alone(open_recording: Callable[[str], Recording], name: str) -> None:
    """Of every version of Cassandra: from a snapshot without any table that people made, the log gives them all."""
    recording = open_recording(name)
    rows = json.loads((recording.path / "schema.json").read_bytes())
    own = {
        table: [row for row in found if row["keyspace_name"] in SYSTEM_KEYSPACES]
        for table, found in rows.items()
        if isinstance(found, list)
    }
    follower = Decoder(schema_of(own, "own"), users, follow=True, keys=recording.keys())
    batches = [batch for path in recording.main.segments() for batch in follower.read(path)]
    assert [str(damage.error) for batch in batches for damage in batch.damage] == []
    assert tables_of_users(follower.schema) == tables_of_users(recording.schema)
    assert sum(changes.changes for batch in batches for changes in batch.tables) > 200


def test_changes_end_batches(recording: Recording) -> None:
    """Everything before a change is read with the schema before it, everything behind with the one behind it."""
    last: Schema | None = None
    for batch in read(decoder(recording), recording):
        assert last is None or batch.schema is last
        assert {event.position for event in batch.events} <= {batch.position}
        assert (batch.schema is batch.schema_behind) or batch.events
        for changes in batch.tables:
            assert batch.schema.tables[changes.table.id] is changes.table
            assert changes.rows.column("position")[-1].as_py() <= batch.end
        last = batch.schema_behind


def complete(schema: Schema) -> dict[str, str]:
    """The counter tables that are known from their CREATE on, to its place."""
    return {name.removeprefix("cc."): t.complete_since for name, t in sorted(_named(schema)) if t.complete_since}


def _named(schema: Schema) -> list[tuple[str, Table]]:
    return [(table.full_name, table) for table in schema.current]


@pytest.mark.parametrize("of", ["what it is at the end", "nothing"])
def test_counters_that_are_known(open_recording: Callable[[str], Recording], tmp_path: Path, of: str) -> None:
    """From their CREATE on while CDC is on, through other changes; the place is that of the event, even when the
    snapshot knew the table; what a history keeps is the same."""
    recording = open_recording("counters-5.0")
    rows = json.loads((recording.path / "schema.json").read_bytes())
    if of == "nothing":
        rows = {n: [row for row in found if row["keyspace_name"] in SYSTEM_KEYSPACES] for n, found in rows.items()}
    follower = Decoder(schema_of(rows, "rows"), users, follow=True)
    batches = list(read(follower, recording))
    seen = events(iter(batches))
    known = complete(follower.schema)
    assert set(known) == {"a", "altered", "b", "k", "t"}
    made = {e.table: str(e.position) for e in seen if e.kind is ChangeKind.CREATED and e.table in known}
    assert made == known
    assert any("offon" in complete(batch.schema_behind) for batch in batches)  # until CDC is off
    assert not any("late" in complete(batch.schema_behind) for batch in batches)
    history = SchemaHistory(tmp_path)
    history.record(Entry(batches[-1].position, follower.schema))
    entry = history.last()
    assert entry is not None
    assert complete(entry.schema) == known


def test_truncations_say_when(recording: Recording) -> None:
    """TRUNCATE is a change of its table alone, at the last microsecond of its millisecond; system tables' are none."""
    (one,) = [event for event in events(read(decoder(recording), recording)) if event.truncated_micros is not None]
    assert (one.kind, one.keyspace, one.table) == (ChangeKind.TRUNCATED, "evolve", "emptied")
    assert one.truncated_micros is not None
    assert one.truncated_micros % 1000 == 999
    assert abs(one.truncated_micros / 1e6 - 1795356276.721) < 1


@pytest.mark.parametrize("rows", [1, 5])
def test_cutting_batches_changes_nothing(recording: Recording, rows: int) -> None:
    """However batches are cut, the same lines come and the same changes at the same places."""
    whole, cut = decoder(recording), decoder(recording, max_rows=rows)
    both = [list(read(one, recording)) for one in (whole, cut)]
    lines = [[line for batch in batches for line in dump_lines(batch.tables)] for batches in both]
    assert lines[0] == lines[1]
    assert events(iter(both[0])) == events(iter(both[1]))
    assert len(lines[0]) == 212


def test_resumed_at_every_place(recording: Recording) -> None:
    """With the schema of a batch's end, reading goes on as if it had never ended."""
    path = recording.main.segments()[0]
    whole = list(decoder(recording, max_rows=10).read(path))
    expected = [line for batch in whole for line in dump_lines(batch.tables)]
    seen: list[str] = []
    for batch in whole:
        seen += dump_lines(batch.tables)
        resumed = Decoder(batch.schema_behind, users, follow=True)
        rest = [line for one in resumed.read(path, batch.end) for line in dump_lines(one.tables)]
        assert seen + rest == expected


def test_a_segment_that_grows(recording: Recording) -> None:
    """An open reading that is asked again goes on where it stood, inside a section, too, and with the schema there."""
    path = recording.main.segments()[0]
    expected = [line for batch in decoder(recording).read(path) for line in dump_lines(batch.tables)]
    follower = decoder(recording, max_rows=3)
    found: list[str] = []
    with follower.open(path) as reading:
        for until in range(0, 160_000, 9_000):
            for batch in itertools.islice(reading.batches(until), 3):
                found += dump_lines(batch.tables)
                assert batch.end == reading.position.offset
        for batch in reading.batches():
            found += dump_lines(batch.tables)
    assert found == expected


def test_a_snapshot_without_its_own_tables(recording: Recording, tmp_path: Path) -> None:
    """A snapshot that lacks the columns of `system_schema` cannot be followed, and is read as before."""
    kept = json.loads((recording.path / "schema.json").read_bytes())
    for name in ("tables", "columns"):
        kept[name] = [row for row in kept[name] if row["keyspace_name"] not in SYSTEM_KEYSPACES]
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(kept))
    schema = load_schema(path)
    assert not SchemaFollower(schema).follows
    follower = Decoder(schema, users, follow=True)
    assert not follower.follows
    assert events(read(follower, recording)) == []


def test_without_following(recording: Recording) -> None:
    """A decoder that is not asked to follow reads everything with the schema that it was given."""
    plain = Decoder(recording.schema, users)
    assert not plain.follows
    batches = list(read(plain, recording))
    assert events(iter(batches)) == []
    assert {batch.schema for batch in batches} == {recording.schema}


def test_what_cannot_be_followed(recording: Recording, tmp_path: Path) -> None:
    """A truncation whose bytes are none, or a row that breaks the schema, is a damaged place; the schema stays."""
    schema = recording.schema
    local, columns = schema.table("system.local"), schema.table("system_schema.columns")
    main = schema.table("evolve.main")
    mutations = [
        en.mutation(
            en.update(
                local.id.bytes,
                b"local",
                [en.row(columns=[en.collection([en.cell(b"\x00" * 7, path=main.id.bytes, at=2**52)])])],
                columns=["truncated_at"],
            )
        ),
        en.mutation(
            en.update(
                columns.id.bytes,
                b"evolve",
                [
                    en.row(
                        en.clustering([b"main", b"v"]),
                        [en.cell(b"regular"), en.cell(b"\xff" * 4, fixed=True), en.cell(b"map<text")],
                        live=en.Liveness(2**52),
                    )
                ],
                columns=["kind", "position", "type"],
            )
        ),
    ]
    path = en.write(tmp_path, en.segment([b"".join(map(en.entry, mutations))]))
    follower = Decoder(schema, users, follow=True)
    batches = list(follower.read(path))
    assert [damage.kind for batch in batches for damage in batch.damage] == ["schema", "schema"]
    first, second = (str(damage.error) for batch in batches for damage in batch.damage)
    assert "expected 20 bytes, found 7" in first
    assert "evolve.main" in second
    assert follower.schema is schema


def test_a_truncation_of_a_table_that_is_gone(recording: Recording, tmp_path: Path) -> None:
    """An id in `truncated_at` that no schema knows, or a deletion of one, is passed over."""
    local = recording.schema.table("system.local")
    main = recording.schema.table("evolve.main")
    cells = [
        en.cell(b"\x00" * 20, path=uuid.uuid4().bytes, at=2**52),
        en.cell(None, path=main.id.bytes, at=2**52, local=1_700_000_000),
    ]
    update = en.update(local.id.bytes, b"local", [en.row(columns=[en.collection(cells)])], columns=["truncated_at"])
    path = en.write(tmp_path, en.segment([en.entry(en.mutation(update))]))
    (batch,) = Decoder(recording.schema, users, follow=True).read(path)
    assert (batch.events, batch.damage, batch.tables, batch.mutations) == ((), (), (), 1)


def test_a_source_that_saw_what_the_log_lost(recording: Recording) -> None:
    """Of a table whose DDL vanished another source tells: renamed keys, dropped and new columns; the rest stays."""
    states = [batch.schema_behind for batch in read(decoder(recording), recording) if batch.events]
    middle = SchemaFollower(states[4])
    main, others = middle.schema.table("evolve.main"), len(middle.schema.current)
    last = recording.schema.table("evolve.main")
    assert main.id == last.id
    assert not middle.adopt(recording.schema, uuid.uuid4(), None, START)
    assert not middle.adopt(recording.schema, main.id, "nobody", START)
    assert middle.schema.table("evolve.main") is main
    for _ in range(2):
        assert middle.adopt(recording.schema, main.id, "extra", START)
        assert middle.schema.table("evolve.main") == last
        assert middle.schema.table("evolve.main").version > 0
        assert len(middle.schema.current) == others
