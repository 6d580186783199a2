"""The files of a history: each change once, whole, and read again as it was."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

import pytest

from cdc_pipeline.change import START, Position, SchemaChange
from cdc_pipeline.errors import ConfigurationError, SchemaError
from cdc_pipeline.history import Entry, SchemaHistory
from cdc_pipeline.schema import ChangeKind, Schema, load_schema, schema_of
from cdc_pipeline_tests.schema.rows import TABLE_ID, snapshot

ONE, TWO = "CommitLog-7-1700000000001.log", "CommitLog-7-1700000000002.log"


def schema(**more: object) -> Schema:
    """A schema of one table."""
    return schema_of(snapshot(**more), "here")


def entry(position: Position, **more: object) -> Entry:
    """A change at a place."""
    change = SchemaChange(ChangeKind.TRUNCATED, position, "ks", "t", uuid.UUID(TABLE_ID), truncated_micros=5_999)
    return Entry(position, schema(**more), (change,))


@pytest.fixture
def history(tmp_path: Path) -> SchemaHistory:
    """An empty history, whose folder is not there yet."""
    return SchemaHistory(tmp_path / "node1" / "schema")


def test_nothing_yet(history: SchemaHistory) -> None:
    """Where nothing was kept there is nothing, and no folder is made."""
    assert (history.latest(Position(ONE, 5)), history.last(), history.begun()) == (None, None, None)
    assert list(history.entries()) == []
    assert not history.folder.exists()


def test_the_last_change_before_a_place(history: SchemaHistory) -> None:
    """A place has the schema of the last change at or before it, across segments."""
    for position in (Position(TWO, 30), Position(ONE, 100), Position(ONE, 9)):
        history.record(entry(position))
    found = [history.latest(place) for place in (START, Position(ONE, 8), Position(ONE, 9), Position(ONE, 99))]
    assert [one and one.position for one in found] == [None, None, Position(ONE, 9), Position(ONE, 9)]
    assert [one.position.offset for one in history.entries()] == [9, 100, 30]
    last = history.last()
    assert last is not None
    assert last.position == Position(TWO, 30)


def test_read_as_it_was(history: SchemaHistory) -> None:
    """Tables, versions, what was dropped before, and the changes come back."""
    kept = entry(Position(ONE, 9))
    rows = kept.schema.rows
    assert rows is not None
    rows.put("tables", ("ks", "t"), snapshot()["tables"][0], 77)
    gone = rows.only("ks", "t")
    gone["tables"] = [{**gone["tables"][0], "id": str(uuid.UUID(int=9))}]
    kept = dataclasses.replace(kept, schema=Schema(kept.schema.current, None, rows, [gone]))
    history.record(kept)
    (found,) = history.entries()
    assert found.changes == kept.changes
    assert found.schema.current == kept.schema.current
    assert [table.version for table in found.schema.current] == [77]
    assert found.schema.tables[uuid.UUID(int=9)].full_name == "ks.t"
    assert found.schema.removed == (gone,)


def test_a_file_is_a_snapshot(history: SchemaHistory) -> None:
    """Each file serves as a schema snapshot, too."""
    history.record(entry(Position(ONE, 9)))
    (path,) = history.folder.glob("*.json")
    assert load_schema(path).current == schema().current


def test_what_is_kept_stays(history: SchemaHistory) -> None:
    """Lanes of one shard keep the same change; the second leaves it as it is, and no other file."""
    history.record(entry(Position(ONE, 9)))
    history.record(entry(Position(ONE, 9), tables=[]))
    (found,) = history.entries()
    assert [table.full_name for table in found.schema.current] == ["ks.t"]
    assert len(list(history.folder.iterdir())) == 1


def test_segments_that_were_begun(history: SchemaHistory) -> None:
    """The last segment that was begun is remembered; an earlier one, by another lane, takes nothing back."""
    for segment in (ONE, TWO, ONE):
        history.begin(segment)
    assert history.begun() == TWO
    (history.folder / "begun.json").write_text("{")
    assert history.begun() is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"segment": 1, "offset": "x"}'])
def test_a_damaged_file_is_named(history: SchemaHistory, text: str) -> None:
    """A file that is no entry is named, with what to do about it."""
    history.record(entry(Position(ONE, 9)))
    (path,) = history.folder.glob("*.json")
    path.write_text(text)
    with pytest.raises(SchemaError, match="expected an entry of the schema's history") as caught:
        history.last()
    assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where no file can be made it is said with the folder."""
    (tmp_path / "file").write_text("")
    history = SchemaHistory(tmp_path / "file" / "schema")
    with pytest.raises(ConfigurationError, match="expected a folder for the schema's history that can be written"):
        history.record(entry(Position(ONE, 9)))
