from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.decode.segment import Section, SegmentFile, Unreadable
from cdc_pipeline.errors import HeaderError, MarkerError, SegmentError, UnsupportedVersion
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import damage, insert, read, values

ID = 1700000000001
HEADER = 20
ONE, TWO, THREE = (en.entry(insert(value)) for value in (b"one", b"two", b"three"))


def sections(path: Path, after: int = 0, until: int | None = None) -> list[Section | Unreadable]:
    """All sections of a file."""
    with SegmentFile(path) as file:
        return list(file.sections(after, until))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The bytes with others put over them."""
    return data[:at] + new + data[at + len(new) :]


def fails(path: Path, kind: type[SegmentError]) -> SegmentError:
    """The error of opening a file; it closes what it opened, or pytest warns."""
    with pytest.raises(kind) as caught:
        SegmentFile(path)
    assert caught.value.segment == path.name
    return caught.value


# --- header ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [6, 7, 8])
def test_header(tmp_path: Path, version: int) -> None:
    """Version, id and parameters of a header, and where the first marker lies."""
    data = en.segment([ONE], version=version, segment_id=2**40 + 5, parameters={"compressionClass": "NoopCompressor"})
    with SegmentFile(en.write(tmp_path, data, version=version, segment_id=2**40 + 5)) as file:
        assert (file.header.version, file.header.segment_id) == (version, 2**40 + 5)
        assert file.header.parameters == {"compressionClass": "NoopCompressor"}
        assert file.header.length == 18 + len('{"compressionClass": "NoopCompressor"}')


def test_ids_beyond_32_bits_are_fed_to_the_crc_low_half_first(tmp_path: Path) -> None:
    """An id whose halves differ passes both CRCs."""
    data = en.segment([ONE], segment_id=0x0123456789ABCDEF)
    assert len(sections(en.write(tmp_path, data, segment_id=0x0123456789ABCDEF))) == 1


def test_json_with_escaped_slashes(tmp_path: Path) -> None:
    """json-simple, up to 4.1, writes / as \\/."""
    text = rb'{"compressionClass":"NoopCompressor","compressionParameters":null,"x":"a\/b"}'
    with SegmentFile(en.write(tmp_path, en.header(7, ID, text))) as file:
        assert file.header.parameters["x"] == "a/b"


def test_header_without_parameters(tmp_path: Path) -> None:
    """A parameter text of no bytes means none."""
    with SegmentFile(en.write(tmp_path, en.header(7, ID, b""))) as file:
        assert file.header.parameters == {}
        assert list(file.sections()) == []


@pytest.mark.parametrize("at", [3, 11, 13, 14, 16, 19])
def test_header_crc(tmp_path: Path, at: int) -> None:
    """A changed bit anywhere in the header gives the file up, and the message names the file and both sums."""
    good = en.segment([ONE])
    bad = patched(good, at, bytes([good[at] ^ 1]))
    error = fails(en.write(tmp_path, bad), HeaderError)
    assert error.what in ("header CRC", "header bytes")
    assert error.segment in str(error)


@pytest.mark.parametrize("version", [2, 5, 9, 10, 2**31 - 1])
def test_unknown_version(tmp_path: Path, version: int) -> None:
    """Versions before 6 and after 8 are refused with their number."""
    error = fails(en.write(tmp_path, en.segment([ONE], version=version), version=version), UnsupportedVersion)
    assert (error.expected, error.found) == ("6, 7, 8", version)


def test_id_of_another_file(tmp_path: Path) -> None:
    """A header whose id is not that of the file's name."""
    error = fails(en.write(tmp_path, en.segment([ONE], segment_id=ID + 1)), HeaderError)
    assert (error.expected, error.found, error.offset) == (ID, ID + 1, 4)


def test_file_of_another_name(tmp_path: Path) -> None:
    """A file that is not named as a segment is read by its header."""
    path = tmp_path / "copy.bin"
    path.write_bytes(en.segment([ONE]))
    assert len(sections(path)) == 1


@pytest.mark.parametrize("size", [0, 1, 13, 14, 17, 19])
def test_short_header(tmp_path: Path, size: int) -> None:
    """A file that ends within its header, an empty one too."""
    error = fails(en.write(tmp_path, en.segment([ONE])[:size]), HeaderError)
    assert error.found == (size if size < 14 else size - 14)


def test_header_alone(tmp_path: Path) -> None:
    """A compressed or encrypted spare is a header and nothing else: a clean end."""
    assert sections(en.write(tmp_path, en.header(7, ID))) == []


@pytest.mark.parametrize("text", [b"[]", b"{", b"null", b"\xff"])
def test_parameters_that_are_no_object(tmp_path: Path, text: bytes) -> None:
    """A header whose parameters cannot be read, with the right CRC."""
    assert fails(en.write(tmp_path, en.header(7, ID, text)), HeaderError).offset == 14


def test_missing_file(tmp_path: Path) -> None:
    """A file that vanished is an OSError, for the caller to judge."""
    with pytest.raises(FileNotFoundError):
        SegmentFile(tmp_path / "CommitLog-7-1.log")


# --- markers: the rules of 3.1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", range(8))
def test_rule_1_fewer_than_8_bytes(tmp_path: Path, rest: int) -> None:
    """Fewer than 8 bytes behind a section are a clean end, whatever they are."""
    batches = read(en.write(tmp_path, en.segment([ONE], tail=b"\xff" * rest)))
    assert values(batches) == ["one"]
    assert damage(batches) == []


def test_rule_2_chain_of_sections(tmp_path: Path) -> None:
    """Sections follow one another, up to the last byte of the file."""
    path = en.write(tmp_path, en.segment([ONE, TWO + THREE], tail=b""))
    assert [(s.file_offset, s.data[: s.length]) for s in sections(path) if isinstance(s, Section)] == [
        (HEADER, ONE),
        (HEADER + 8 + len(ONE), TWO + THREE),
    ]
    assert values(read(path)) == ["one", "two", "three"]


def test_rule_2_empty_section(tmp_path: Path) -> None:
    """A marker that points behind itself is an empty section, not the end."""
    assert values(read(en.write(tmp_path, en.segment([b"", ONE, b"", TWO])))) == ["one", "two"]


@pytest.mark.parametrize("next_of_second", [0, 1, HEADER, "itself", "past the end", 2**31 - 1, 2**32 - 1])
def test_rule_3_bad_position(tmp_path: Path, next_of_second: int | str) -> None:
    """A right CRC and a next marker before this one or beyond the file: the first section is delivered, no more."""
    good = en.segment([ONE, TWO])
    second = HEADER + 8 + len(ONE)
    following = {"itself": second, "past the end": len(good) + 1}.get(str(next_of_second), next_of_second)
    assert isinstance(following, int)
    path = en.write(tmp_path, patched(good, second, en.number(following, 4)))
    batches = read(path)
    assert values(batches) == ["one"]
    (found,) = damage(batches)
    assert isinstance(found.error, MarkerError)
    assert (found.kind, found.error.offset, found.error.found) == ("section", second, following)
    assert [str(one.error) for one in damage(read(path, after=second))] == [str(found.error)]
    assert damage(read(path, after=batches[-1].end)) == []


def test_rule_3_live_file_whose_bytes_have_not_arrived(tmp_path: Path) -> None:
    """The same file reads on once it has grown."""
    whole = en.segment([ONE, TWO])
    path = en.write(tmp_path, whole[: len(ONE) + HEADER + 8 + 8 + 10])
    first = read(path)
    assert values(first) == ["one"]
    path.write_bytes(whole)
    rest = read(path, after=first[-1].end)
    assert values(rest) == ["two"]
    assert damage(rest) == []


def test_rule_4_zero_marker(tmp_path: Path) -> None:
    """A marker of zeros is a clean end, also with other bytes far behind it, which were never synced."""
    batches = read(en.write(tmp_path, en.segment([ONE], tail=bytes(8) + TWO)))
    assert values(batches) == ["one"]
    assert damage(batches) == []


def test_rule_4_spare(tmp_path: Path) -> None:
    """A plain spare is a header and zeros."""
    batches = read(en.write(tmp_path, en.segment([], tail=bytes(4096))))
    assert (len(batches), batches[0].mutations, batches[0].last) == (1, 0, True)


def test_rule_5_marker_half_written(tmp_path: Path) -> None:
    """Next is there and the CRC is still 0: not taken, reported at its place, and read once it is complete."""
    whole = en.segment([ONE, TWO])
    second = HEADER + 8 + len(ONE)
    path = en.write(tmp_path, patched(whole, second + 4, bytes(4)))
    batches = read(path)
    assert values(batches) == ["one"]
    (found,) = damage(batches)
    assert found.error.offset == second
    assert found.error.found == "00000000"
    path.write_bytes(whole)
    assert values(read(path, after=batches[-1].end)) == ["two"]


@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_rule_6_corruption(tmp_path: Path, at: int) -> None:
    """Any other CRC is corruption; of the next field only what breaks the walk can be seen, as it has no CRC."""
    good = en.segment([ONE, TWO])
    second = HEADER + 8 + len(ONE)
    batches = read(en.write(tmp_path, patched(good, second + at, bytes([good[second + at] ^ 0x40]))))
    assert values(batches) == ["one"]
    (found,) = damage(batches)
    assert isinstance(found.error, MarkerError)
    assert found.error.offset == second


def test_marker_crc_holds_its_own_place(tmp_path: Path) -> None:
    """A marker that was right elsewhere is wrong here."""
    good = en.segment([ONE, TWO])
    second = HEADER + 8 + len(ONE)
    moved = patched(good, second + 4, good[HEADER + 4 : HEADER + 8])
    assert values(read(en.write(tmp_path, moved))) == ["one"]


# --- logical positions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LZ4Compressor", "NoopCompressor"])
def test_logical_positions(tmp_path: Path, name: str) -> None:
    """Each section adds 8 and its uncompressed length, whatever its length in the file."""
    parameters = {"compressionClass": name}
    data = en.segment([ONE * 20, b"", TWO], parameters=parameters, body=en.compressed(name), tail=b"")
    start = 18 + len(f'{{"compressionClass": "{name}"}}')
    found = [s for s in sections(en.write(tmp_path, data)) if isinstance(s, Section)]
    ends = [start + 8 + 20 * len(ONE), start + 16 + 20 * len(ONE), start + 24 + 20 * len(ONE) + len(TWO)]
    assert [s.logical_end for s in found] == ends
    assert [s.logical_start for s in found] == [start, *ends[:-1]]


Make = Callable[[list[bytes]], bytes]


def _plain(contents: list[bytes]) -> bytes:
    return en.segment(contents)


def _zstd(contents: list[bytes]) -> bytes:
    parameters = {"compressionClass": "ZstdCompressor"}
    return en.segment(contents, parameters=parameters, body=en.compressed("ZstdCompressor"), tail=b"")


@pytest.mark.parametrize("make", [_plain, _zstd])
def test_until_gives_whole_sections_only(tmp_path: Path, make: Make) -> None:
    """No section beyond `until`, for every offset; one that ends there is given."""
    path = en.write(tmp_path, make([ONE, TWO, THREE]))
    everything = [s for s in sections(path) if isinstance(s, Section)]
    for until in range(everything[-1].logical_end + 5):
        expected = [s.data for s in everything if s.logical_end <= until]
        assert [s.data for s in sections(path, until=until) if isinstance(s, Section)] == expected


@pytest.mark.parametrize("make", [_plain, _zstd])
def test_after_passes_whole_sections(tmp_path: Path, make: Make) -> None:
    """Only sections that end beyond `after`, and the logical positions of the rest are what they were."""
    path = en.write(tmp_path, make([ONE, TWO, THREE]))
    everything = [s for s in sections(path) if isinstance(s, Section)]
    for after in range(everything[-1].logical_end + 5):
        assert sections(path, after) == [s for s in everything if s.logical_end > after]


def test_until_does_not_look_at_a_marker_beyond(tmp_path: Path) -> None:
    """What lies beyond the durable offset is not read, so it cannot be damage."""
    good = en.segment([ONE, TWO])
    second = HEADER + 8 + len(ONE)
    batches = read(en.write(tmp_path, patched(good, second, b"\xff" * 8)), until=second)
    assert values(batches) == ["one"]
    assert damage(batches) == []
