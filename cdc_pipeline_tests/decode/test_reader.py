from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.decode import DecodedBatch, Decoder, SegmentFile, dump_lines
from cdc_pipeline.decode.segment import Section
from cdc_pipeline.schema import Schema, TableFilter
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import T, every_table, insert, make_table, read, values
from cdc_pipeline_tests.recordings import NAMES, Recording

Open = Callable[[str], Recording]
GROWING = [name for name in NAMES if name in ("crash-5.0", "live-5.0")]

segments = pytest.mark.parametrize("name", ["random-5.0-s1", "shop-zstd-5.0", "shop-encrypted-5.0"])


def largest(recording: Recording) -> Path:
    """The segment of a recording with most mutations."""
    decoder = Decoder(recording.schema, every_table, keys=recording.keys())
    return max(recording.main.segments(), key=lambda path: sum(batch.mutations for batch in decoder.read(path)))


def numbered(batches: Iterator[DecodedBatch]) -> list[tuple[int, str]]:
    """(position, line) of all batches."""
    return [
        (int(line.partition('"position":')[2].partition(",")[0]), line)
        for batch in batches
        for line in dump_lines(batch.tables)
    ]


def sample(everything: list[int], count: int) -> list[int]:
    """Some of them, evenly, the last one too."""
    return [*everything[:: max(1, len(everything) // count)], everything[-1]]


# --- resuming --------------------------------------------------------------------------------------------------------


@segments
def test_after_gives_the_rest(open_recording: Open, name: str) -> None:
    """From any position on, behind an entry or within one, come exactly the lines with a greater position."""
    recording = open_recording(name)
    path = largest(recording)
    decoder = Decoder(recording.schema, every_table, keys=recording.keys())
    everything = numbered(decoder.read(path))
    positions = sorted({position for position, _ in everything})
    for position in sample(positions, 3):
        for after in (position - 1, position, position + 1):
            assert numbered(decoder.read(path, after=after)) == [one for one in everything if one[0] > after]


def test_after_every_position(tmp_path: Path, kernel: ModuleType) -> None:
    """The same at every byte of a small segment, on both kernels."""
    assert kernel
    entries = [en.entry(insert(text)) for text in (b"one", b"two", b"three", b"four")]
    path = en.write(tmp_path, en.segment([entries[0] + entries[1], b"", entries[2] + entries[3]]))
    decoder = Decoder(Schema([T]), every_table)
    everything = numbered(decoder.read(path))
    for after in range(path.stat().st_size + 10):
        batches = list(decoder.read(path, after=after))
        assert numbered(iter(batches)) == [one for one in everything if one[0] > after]
        assert (batches[0].start, batches[-1].end) == (after, max(after, everything[-1][0]))


@pytest.mark.parametrize("max_rows", [1, 7, 1000])
@segments
def test_batches_concatenate(open_recording: Open, name: str, max_rows: int) -> None:
    """Batches of any size give the lines of one great batch, each begins where the one before ended."""
    recording = open_recording(name)
    path = largest(recording)
    whole = list(Decoder(recording.schema, every_table, keys=recording.keys(), max_rows=10**6).read(path))
    decoder = Decoder(recording.schema, every_table, keys=recording.keys(), max_rows=max_rows)
    batches = list(decoder.read(path))
    assert len(whole) == 1 < len(batches)
    assert [line for _, line in numbered(iter(batches))] == [line for _, line in numbered(iter(whole))]
    assert all(before.end == after.start for before, after in pairwise(batches))
    assert (batches[0].start, batches[-1].end) == (0, whole[0].end)
    assert [batch.last for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert sum(batch.mutations for batch in batches) == whole[0].mutations


@segments
def test_resuming_between_batches(open_recording: Open, name: str) -> None:
    """A decoder that starts anew at a batch's end gives what the first one would have given next."""
    recording = open_recording(name)
    path = largest(recording)
    everything = numbered(Decoder(recording.schema, every_table, keys=recording.keys()).read(path))
    found: list[tuple[int, str]] = []
    after, last = 0, False
    while not last:
        decoder = Decoder(recording.schema, every_table, keys=recording.keys(), max_rows=300)
        batch = next(decoder.read(path, after))
        found += numbered(iter([batch]))
        after, last = batch.end, batch.last
    assert found == everything


def test_rows_of_a_batch(tmp_path: Path, kernel: ModuleType) -> None:
    """A batch is closed once it has the rows asked for; mutations are never cut, and it may take one more."""
    assert kernel
    rows = [en.row(en.clustering([bytes([97 + i])]), [en.cell(b"x", at=1)]) for i in range(5)]
    five = en.entry(en.mutation(en.update(T.id.bytes, bytes(4), rows, columns=["v"])))
    path = en.write(tmp_path, en.segment([five * 4, five * 3]))
    counts = [sum(change.rows.num_rows for change in batch.tables) for batch in read(path, max_rows=7)]
    assert sum(counts) == 35
    assert all(7 <= count <= 15 for count in counts[:-1])
    assert counts[-1] <= 10


def test_bytes_of_a_batch(tmp_path: Path, kernel: ModuleType) -> None:
    """A batch is closed once its values reach the limit in bytes."""
    assert kernel
    path = en.write(tmp_path, en.segment([en.entry(insert(b"x" * 1000)) * 10]))
    assert [len(values([batch])) for batch in read(path, max_bytes=2500)] == [3, 3, 3, 1]


def test_filtered_tables_make_no_batches(tmp_path: Path) -> None:
    """However many mutations of unwanted tables are passed, they make one batch, which carries the position."""
    path = en.write(tmp_path, en.segment([en.entry(insert()) * 50]))
    (batch,) = Decoder(Schema([T]), lambda _: False, max_rows=1).read(path)
    assert (batch.tables, batch.mutations, batch.last) == ((), 50, True)
    assert batch.position == Position(path.name, 28 + 50 * len(en.entry(insert())))


def test_wanted_tables_only(open_recording: Open) -> None:
    """A filter's tables come out and no others."""
    recording = open_recording("shop-lz4-4.1")
    chosen = TableFilter(("*.orders", "*.patients"))
    decoder = Decoder(recording.schema, chosen.selects)
    names = {c.table.name for p in recording.main.segments() for b in decoder.read(p) for c in b.tables}
    assert names == {"orders", "patients"}


# --- until -----------------------------------------------------------------------------------------------------------


@segments
def test_until_never_gives_a_section_beyond(open_recording: Open, name: str) -> None:
    """Of a live segment come the lines of whole sections up to the durable offset; reading on gives the others."""
    recording = open_recording(name)
    path = largest(recording)
    decoder = Decoder(recording.schema, every_table, keys=recording.keys())
    everything = numbered(decoder.read(path))
    with SegmentFile(path, recording.keys()) as file:
        start = file.header.length
        ends = [section.logical_end for section in file.sections() if isinstance(section, Section)]
    for end in sample(ends, 3):
        for until in (end - 1, end, end + 1):
            whole = max((one for one in ends if one <= until), default=start)
            batches = list(decoder.read(path, until=until))
            found = numbered(iter(batches))
            assert found == [one for one in everything if one[0] <= whole]
            assert batches[-1].end == whole
            assert found + numbered(decoder.read(path, after=batches[-1].end)) == everything


def by_segment(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """The lines of each segment."""
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        found.setdefault(line.split(b'"', 4)[3], []).append(line)
    return found


@pytest.mark.parametrize("name", GROWING)
def test_every_state_is_a_prefix(open_recording: Open, name: str) -> None:
    """What a segment gives while it is written, or before a crash, is a prefix of what it gives in the end."""
    recording = open_recording(name)
    decoder = Decoder(recording.schema, TableFilter(("*",)).selects)
    final = by_segment(recording.main.oracle_lines())
    folders = recording.segments_dirs()[1:]
    assert folders
    for folder in folders:
        for path in folder.segments():
            wanted = [line for line in final.get(path.name.encode(), []) if b'"cdc":true}' in line]
            found = [line.encode() for _, line in numbered(decoder.read(path))]
            assert found == wanted[: len(found)]


@pytest.mark.parametrize("name", GROWING)
def test_following_a_node(open_recording: Open, name: str) -> None:
    """A lane that reads each state up to its index and resumes gets every line of the end once, in order."""
    recording = open_recording(name)
    decoder = Decoder(recording.schema, every_table)
    reached: dict[str, int] = {}
    found: dict[str, list[str]] = {}
    folders = sorted(recording.segments_dirs()[1:], key=lambda one: (one.label == "after_restart", one.label))
    for folder in [*folders, recording.main]:
        for path in folder.segments():
            index = path.with_name(path.stem + "_cdc.idx")
            if not index.is_file():
                continue
            offset, _, completed = index.read_text().partition("\n")
            for batch in decoder.read(path, reached.get(path.name, 0), None if completed else int(offset)):
                found.setdefault(path.name, []).extend(dump_lines(batch.tables))
                reached[path.name] = batch.end
                assert completed or batch.end <= int(offset)
    for path in recording.main.segments():
        index = path.with_name(path.stem + "_cdc.idx")
        if index.is_file():
            offset, _, completed = index.read_text().partition("\n")
            until = None if completed else int(offset)
            assert found[path.name] == [line for _, line in numbered(decoder.read(path, until=until))]


# --- damage and use of a decoder -------------------------------------------------------------------------------------


def test_damaged_section_is_passed(tmp_path: Path) -> None:
    """The position passes a section that cannot be read, and resuming behind it does not report it again."""
    parameters = {"compressionClass": "LZ4Compressor"}
    entry = en.entry(insert(b"x" * 100))
    data = en.segment([entry, entry], parameters=parameters, body=en.compressed("LZ4Compressor"), tail=b"")
    bad = data[:-20] + b"\xff" * 20
    path = en.write(tmp_path, bad)
    first = read(path)
    assert [one.kind for batch in first for one in batch.damage] == ["section"]
    assert first[-1].end == 18 + len('{"compressionClass": "LZ4Compressor"}') + 2 * (8 + len(entry))
    again = read(path, after=first[-1].end)
    assert [(batch.damage, batch.tables) for batch in again] == [((), ())]


def test_reading_that_was_given_up(tmp_path: Path, kernel: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failed reading left behind never comes out under another segment's name."""
    assert kernel
    one = en.write(tmp_path, en.segment([en.entry(insert(b"one")), en.entry(insert(b"lost"))]))
    two = en.write(tmp_path, en.segment([en.entry(insert(b"two"))], segment_id=2), segment_id=2)
    decoder = Decoder(Schema([T]), every_table)
    with monkeypatch.context() as patch:
        original = SegmentFile._pread

        def failing(self: SegmentFile, at: int, size: int) -> bytes:
            if at > 100:
                raise OSError(5, "Input/output error")
            return original(self, at, size)

        patch.setattr(SegmentFile, "_pread", failing)
        with pytest.raises(OSError, match="Input/output"):
            list(decoder.read(one))
    assert values(list(decoder.read(two))) == ["two"]


def test_reading_that_was_left(tmp_path: Path) -> None:
    """A reading that its caller leaves after a batch does not disturb the next one."""
    path = en.write(tmp_path, en.segment([b"".join(en.entry(insert(bytes([97 + i]))) for i in range(5))]))
    decoder = Decoder(Schema([T]), every_table, max_rows=2)
    left = cast(Generator[DecodedBatch], decoder.read(path))
    assert values([next(left)]) == ["a", "b"]
    left.close()
    assert values(list(decoder.read(path))) == ["a", "b", "c", "d", "e"]


def test_empty_segment_gives_one_batch(tmp_path: Path) -> None:
    """A segment without mutations gives one batch, the last one, with nothing in it."""
    (batch,) = read(en.write(tmp_path, en.segment([])), after=20)
    assert (batch.tables, batch.damage, batch.mutations, batch.last, batch.end) == ((), (), 0, True, 20)


def test_same_decoder_for_many_segments(open_recording: Open) -> None:
    """Reading all segments with one decoder gives what a fresh one for each gives."""
    recording = open_recording("tombstones-5.0")
    decoder = Decoder(recording.schema, every_table)
    for path in [*recording.main.segments(), *recording.main.segments()]:
        fresh = Decoder(recording.schema, every_table)
        assert numbered(decoder.read(path)) == numbered(fresh.read(path))


def test_captured_at(tmp_path: Path) -> None:
    """A batch knows when it was read, in UTC."""
    before = dt.datetime.now(dt.UTC)
    (batch,) = read(en.write(tmp_path, en.segment([en.entry(insert())])))
    assert before <= batch.tables[0].captured_at <= dt.datetime.now(dt.UTC)


def test_schema_without_tables(tmp_path: Path) -> None:
    """Under an empty schema every mutation is one of an unknown table."""
    batches = list(Decoder(Schema([]), every_table).read(en.write(tmp_path, en.segment([en.entry(insert()) * 3]))))
    assert [one.kind for batch in batches for one in batch.damage] == ["table"] * 3


def test_tables_of_one_name(tmp_path: Path) -> None:
    """A table that was dropped and made again is read under both ids, each with its own columns."""
    again = make_table("t", regular=[("v", "text"), ("w", "text")])
    path = en.write(tmp_path, en.segment([en.entry(insert(b"old")) + en.entry(insert(b"new", table=again))]))
    decoder = Decoder(Schema([again], Schema([T])), every_table)
    (batch,) = decoder.read(path)
    assert {change.table.id for change in batch.tables} == {T.id, again.id}
    assert values([batch]) == ["old", "new"]
