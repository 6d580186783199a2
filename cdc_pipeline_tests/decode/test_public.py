"""Reading segments in a program of one's own: batches, events, Arrow, pandas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from cdc_pipeline.change import ChangeBatch, Damage
from cdc_pipeline.decode import change_schema, read_events, read_segment, to_arrow, to_pandas
from cdc_pipeline.decode.changes import change_line, change_record
from cdc_pipeline.errors import EntryError, SegmentError
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import T, insert
from cdc_pipeline_tests.recordings import Recording

SCHEMA = Schema([T])
RECORDINGS = ["types-5.0-v8", "tombstones-5.0", "random-5.0-s1"]


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest, open_recording: Callable[[str], Recording]) -> Recording:
    """Real segments."""
    return open_recording(request.param)


def batches_of(recording: Recording) -> list[ChangeBatch]:
    """All changes of a recording."""
    return [batch for path in recording.main.segments() for batch in read_segment(path, recording.schema)]


def damaged(folder: Path) -> Path:
    """A segment of three inserts, the second of which has a wrong CRC."""
    entries = [en.entry(insert(value)) for value in (b"one", b"two", b"three")]
    entries[1] = entries[1][:-1] + bytes([entries[1][-1] ^ 1])
    return en.write(folder, en.segment([b"".join(entries)]))


def test_events_come_in_the_logs_order(recording: Recording) -> None:
    """As many events as the batches hold changes, of all tables, their positions rising."""
    changes = sum(batch.changes for batch in batches_of(recording))
    seen = 0
    for path in recording.main.segments():
        events = list(read_events(path, recording.schema))
        assert [event.position for event in events] == sorted(event.position for event in events)
        seen += len(events)
    assert seen == changes > 0


def test_tables_are_chosen(recording: Recording) -> None:
    """Only the tables that are wanted."""
    wanted = batches_of(recording)[0].table
    for path in recording.main.segments():
        for batch in read_segment(path, recording.schema, tables=lambda table: table.id == wanted.id):
            assert batch.table.id == wanted.id


def test_after_and_until(recording: Recording) -> None:
    """What lies beyond `after` and what lies up to `until` is everything once."""
    path = recording.main.segments()[0]
    whole = list(read_events(path, recording.schema))
    middle = whole[len(whole) // 2].position.offset
    later = list(read_events(path, recording.schema, after=middle))
    assert [event.event_id for event in later] == [e.event_id for e in whole if e.position.offset > middle]
    sooner = [event.event_id for event in read_events(path, recording.schema, until=middle)]
    assert sooner == [event.event_id for event in whole][: len(sooner)]


def test_damage_is_raised_behind_what_is_good(tmp_path: Path) -> None:
    """Without `on_damage` the error comes, with its place, after the changes of its stretch."""
    events = read_events(damaged(tmp_path), SCHEMA)
    assert [next(events).columns["v"], next(events).columns["v"]] == [b"one", b"three"]
    with pytest.raises(EntryError, match="mutation CRC expected"):
        next(events)


def test_damage_is_told(tmp_path: Path) -> None:
    """With `on_damage` reading goes on."""
    told: list[Damage] = []
    batches = list(read_segment(damaged(tmp_path), SCHEMA, on_damage=told.append))
    assert sum(batch.changes for batch in batches) == 2
    assert [one.kind for one in told] == ["entry"]


def test_a_file_that_is_no_segment(tmp_path: Path) -> None:
    """A header that is none."""
    path = tmp_path / "CommitLog-7-1.log"
    path.write_bytes(b"no segment at all")
    with pytest.raises(SegmentError, match="header"):
        list(read_segment(path, SCHEMA))


def test_arrow_and_json_lines_say_the_same(recording: Recording) -> None:
    """A row of `to_arrow` is the line of `--format changes`, times as timestamps."""
    batches = batches_of(recording)
    table = to_arrow(batches)
    assert table.schema == change_schema()
    table.validate(full=True)
    micros = [field.name for field in change_schema() if pa.types.is_timestamp(field.type)]
    for name in micros:
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(pa.int64()))
    cells = change_schema().field("cells").type.value_type
    plain = pa.struct([(f.name, pa.int64() if f.name == "timestamp" else f.type) for f in cells])
    table = table.set_column(table.schema.get_field_index("cells"), "cells", table["cells"].cast(pa.list_(plain)))
    rows = table.to_pylist()
    events = [(event, batch.table) for batch in batches for event in batch.events()]
    assert len(rows) == len(events)
    for row, (event, of) in zip(rows, events, strict=True):
        line = json.loads(change_line(change_record(event, of)))
        assert (row["timestamp"], row["deleted"]) == (line["timestamp_micros"], line["deleted_micros"])
        assert json.loads(row["partition_key"]) == line["partition_key"]
        assert json.loads(row["clustering_key"]) == line["clustering_key"]
        assert [(c["column"], c["operation"], c["timestamp"], c["ttl_seconds"]) for c in row["cells"]] == [
            (c["column"], c["operation"], c["timestamp_micros"], c["ttl_seconds"]) for c in line["cells"]
        ]
        for shown, said in zip(row["cells"], line["cells"], strict=True):
            assert [None if one is None else json.loads(one) for one in (shown["path"], shown["value"])] == [
                said["path"],
                said["value"],
            ]
        assert (row["start"] is not None) == ("start" in line)


def test_nothing_is_an_empty_table() -> None:
    """No batches, no rows, the same columns."""
    assert to_arrow([]).schema == change_schema()
    assert to_arrow([]).num_rows == 0


def test_pandas(recording: Recording) -> None:
    """A DataFrame with a row per change."""
    batches = batches_of(recording)
    frame = to_pandas(batches)
    assert len(frame) == sum(batch.changes for batch in batches)
    assert list(frame.columns) == change_schema().names
