"""The schema of a place: from the history, or from the log at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdc_pipeline.capture import ShardLog
from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import Decoder
from cdc_pipeline.history import SchemaHistory, ShardSchema
from cdc_pipeline.schema import Schema, load_schema
from cdc_pipeline_tests.recordings import Recording


@pytest.fixture
def seed(recording: Recording) -> Schema:
    """The schema before all DDL."""
    return load_schema(recording.path / "schema_history" / "000.json")


@pytest.fixture
def segments(recording: Recording, tmp_path: Path) -> Path:
    """A copy of the segments."""
    return shutil.copytree(recording.main.path, tmp_path / "cdc_raw")


@pytest.fixture
def history(tmp_path: Path) -> SchemaHistory:
    """An empty history."""
    return SchemaHistory(tmp_path / "followed")


def places(seed: Schema, segments: Path, history: SchemaHistory | None) -> ShardSchema:
    """The shard's schema."""
    return ShardSchema(seed, ShardLog("node1", segments), history)


def truth(seed: Schema, segments: Path) -> list[tuple[Position, Schema]]:
    """Each place where the schema changed, with the schema behind it."""
    decoder = Decoder(seed, lambda _: False, follow=True)
    return [
        (batch.position, batch.schema_behind)
        for path in sorted(segments.glob("*.log"))
        for batch in decoder.read(path)
        if batch.events
    ]


@pytest.mark.parametrize("kept", [True, False], ids=["with a history", "without"])
def test_any_place(seed: Schema, segments: Path, history: SchemaHistory, kept: bool) -> None:
    """Behind each change, and just before it, the schema of the place is found in the log at hand."""
    before = seed
    for position, schema in truth(seed, segments):
        found = places(seed, segments, history if kept else None)
        assert found.at(Position(position.segment, position.offset - 1)).current == before.current
        assert found.at(position).current == schema.current
        assert found.problems == []
        before = schema
    assert history.folder.exists() is kept
    assert len(list(history.entries())) == (len(truth(seed, segments)) if kept else 0)


def test_tables_that_were_dropped_are_known(seed: Schema, segments: Path, history: SchemaHistory) -> None:
    """Late mutations of dropped tables are still read: their ids stay known in what is kept."""
    *_, (last, schema) = truth(seed, segments)
    places(seed, segments, history).at(last)
    again = places(seed, segments, history).at(last)
    assert again.tables.keys() == schema.tables.keys()
    assert len(again.tables) > len(again.current)


def test_the_history_outlives_the_segments(seed: Schema, segments: Path, history: SchemaHistory) -> None:
    """Once read, a place needs its segments no more."""
    changes = truth(seed, segments)
    places(seed, segments, history).at(changes[-1][0])
    for path in segments.iterdir():
        path.unlink()
    for position, schema in changes:
        assert places(seed, segments, history).at(position).current == schema.current


def test_the_start_is_the_seed(seed: Schema, segments: Path, history: SchemaHistory) -> None:
    """Before everything the snapshot holds, and nothing is read for it."""
    assert places(seed, segments, history).at(START) is seed
    assert not history.folder.exists()


def test_a_history_that_cannot_be_written(seed: Schema, segments: Path, tmp_path: Path) -> None:
    """Without a place for it the log is read again and again: the right schema, and one sentence about it."""
    (tmp_path / "file").write_text("")
    found = places(seed, segments, SchemaHistory(tmp_path / "file" / "schema"))
    last, schema = truth(seed, segments)[-1]
    assert found.at(last).current == schema.current
    assert found.at(last).current == schema.current
    (problem,) = found.problems
    assert "expected a folder for the schema's history" in problem


def test_a_damaged_segment_is_named(seed: Schema, segments: Path, history: SchemaHistory) -> None:
    """A segment whose header is damaged is passed with a word about it."""
    first, *_ = sorted(segments.glob("*.log"))
    last, _ = truth(seed, segments)[-1]
    first.write_bytes(b"\xff" * 100)
    found = places(seed, segments, history)
    found.at(last)
    (problem,) = found.problems
    assert first.name in problem
