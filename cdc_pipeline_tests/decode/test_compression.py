from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from cdc_pipeline.decode.compression import decompressor
from cdc_pipeline.errors import HeaderError, SectionError
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import damage, insert, read, values

ONE, TWO, THREE = (en.entry(insert(value)) for value in (b"one" * 50, b"two" * 50, b"three" * 50))
GIB = 2**31 - 1

compressors = pytest.mark.parametrize("name", en.COMPRESSORS)


def segment_of(name: str, *sections: bytes) -> bytes:
    """A compressed segment."""
    return en.segment(sections, parameters={"compressionClass": name}, body=en.compressed(name), tail=b"")


@compressors
def test_sections(tmp_path: Path, name: str) -> None:
    """Several sections of each compressor, an empty one among them."""
    batches = read(en.write(tmp_path, segment_of(name, ONE + TWO, b"", THREE)))
    assert values(batches) == ["one" * 50, "two" * 50, "three" * 50]
    assert damage(batches) == []


@compressors
@pytest.mark.parametrize("version", [6, 8])
def test_versions(tmp_path: Path, name: str, version: int) -> None:
    """The bodies are the same in all segment versions."""
    data = en.segment([ONE], version=version, parameters={"compressionClass": name}, body=en.compressed(name))
    assert values(read(en.write(tmp_path, data, version=version))) == ["one" * 50]


def test_class_with_its_package(tmp_path: Path) -> None:
    """A compressor may be named with its package, and with parameters that only its writer needs."""
    name = "org.apache.cassandra.io.compress.LZ4Compressor"
    parameters = {"compressionClass": name, "compressionParameters": {"lz4_compressor_type": "high"}}
    data = en.segment([ONE], parameters=parameters, body=en.compressed("LZ4Compressor"))
    assert values(read(en.write(tmp_path, data))) == ["one" * 50]


@pytest.mark.parametrize("name", ["BrotliCompressor", "com.example.LZ4Compressor", ""])
def test_unknown_class(tmp_path: Path, name: str) -> None:
    """A compressor of somebody else's is an error of the header; an empty name is none at all."""
    path = en.write(tmp_path, en.segment([ONE], parameters={"compressionClass": name}))
    if not name:
        assert values(read(path)) == ["one" * 50]
        return
    with pytest.raises(HeaderError, match=f"expected one of Cassandra's, found {name}"):
        read(path)


@compressors
def test_damaged_block_loses_its_section_only(tmp_path: Path, name: str) -> None:
    """A block that does not decompress, or whose entries then fail, is reported; the next section is read."""
    good = segment_of(name, ONE, TWO, THREE)
    at = good.index(en.COMPRESSORS[name](TWO))
    for offset in range(len(en.COMPRESSORS[name](TWO))):
        bad = good[: at + offset] + bytes([good[at + offset] ^ 0x55]) + good[at + offset + 1 :]
        batches = read(en.write(tmp_path, bad))
        found = values(batches)
        assert found in (["one" * 50, "three" * 50], ["one" * 50, "two" * 50, "three" * 50])
        assert len(found) == 3 or damage(batches)


@compressors
def test_wrong_length(tmp_path: Path, name: str) -> None:
    """A section whose length field is not what its block holds is reported with its place."""
    good = segment_of(name, ONE, TWO)
    start = 18 + int.from_bytes(good[12:14], "big")
    for length in (0, len(ONE) - 1, len(ONE) + 1, GIB, 2**32 - 1):
        bad = good[: start + 8] + en.number(length, 4) + good[start + 12 :]
        batches = read(en.write(tmp_path, bad))
        assert values(batches) == ["two" * 50]
        (found,) = damage(batches)
        assert isinstance(found.error, SectionError)
        assert found.error.offset == start
        shown = "found more" if name == "DeflateCompressor" and not length else str(len(ONE))
        assert shown in str(found.error)  # a deflated block is not read much further than its section's length


def test_empty_deflated_section(tmp_path: Path) -> None:
    """Cassandra 5.0 deflates a section without entries to no bytes: `00000000` and the next marker."""
    bodies = iter([b"\0" * 4, en.compressed("DeflateCompressor")(ONE)])
    data = en.segment([b"", ONE], parameters={"compressionClass": "DeflateCompressor"}, body=lambda _: next(bodies))
    batches = read(en.write(tmp_path, data))
    assert values(batches) == ["one" * 50]
    assert damage(batches) == []


@compressors
@pytest.mark.parametrize("size", range(4))
def test_body_without_a_length(tmp_path: Path, name: str, size: int) -> None:
    """A body too short for its length field."""
    data = en.segment([b"\0" * size], parameters={"compressionClass": name}, tail=b"")
    (found,) = damage(read(en.write(tmp_path, data)))
    assert f"at least 4 bytes expected, found {size}" in str(found.error)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("LZ4Compressor", GIB.to_bytes(4, "little") + b"\x10" * 16),
        ("LZ4Compressor", b"\xff\xff\xff\x7f"),
        ("LZ4Compressor", b"\xff\xff"),
        ("LZ4Compressor", b""),
        ("SnappyCompressor", b"\xff\xff\xff\xff\x07" + b"\x10" * 16),
        ("SnappyCompressor", b"\xff\xff\xff\xff\x0f" + b"\x10" * 16),
        ("SnappyCompressor", b"\xff\xff\xff\xff\xff\xff\xff"),
        ("SnappyCompressor", b"\xff\xff"),
        ("SnappyCompressor", b""),
        ("DeflateCompressor", b""),
        ("DeflateCompressor", b"\x78\x9c"),
        ("ZstdCompressor", b""),
        ("ZstdCompressor", bytes.fromhex("28b52ffd c058") + (2**40).to_bytes(8, "little") + bytes.fromhex("010000")),
        ("ZstdCompressor", bytes.fromhex("28b52ffd 00f8 010000")),
        ("NoopCompressor", b"\x10" * 16),
    ],
)
def test_lengths_of_2_gib_allocate_nothing(name: str, block: bytes) -> None:
    """A length in or before a block never decides how much memory is taken: two processes' worth would end this one."""
    with pytest.raises(ValueError, match=r"expect|decompress"):
        decompressor(name)(block, GIB)


@pytest.mark.parametrize("name", ["DeflateCompressor", "ZstdCompressor"])
def test_a_block_of_much_more_than_its_section(name: str) -> None:
    """A block that would unpack to a GiB is given up when it goes beyond its section's length."""
    block = en.COMPRESSORS[name](bytes(GIB // 8))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected"):
            decompressor(name)(block, 1000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 20000, 3_000_000])
@compressors
def test_round_trip(name: str, length: int) -> None:
    """Blocks of every size come back, highly compressible ones too."""
    data = bytes(length)
    assert decompressor(name)(en.COMPRESSORS[name](data), length) == data
