"""Bodies of compressed sections (format document, 4.1): one block a section, by the classes of `io.compress`.

Nothing is allocated that a damaged length asks for: a block's own length is compared with the section's first, and what
a block of its size could never hold is refused. The library is loaded with the first compressed section.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

Decompress = Callable[[bytes, int], bytes]
"""(block, uncompressed length of the section) -> plain bytes; raises `ValueError` or cramjam's error."""

_PACKAGE = "org.apache.cassandra.io.compress."
LARGEST_SECTION = 2**31 - 1


def _lz4(block: bytes, length: int) -> bytes:
    """A little-endian length, then a raw LZ4 block."""
    if len(block) < 4:
        raise ValueError(f"an LZ4 block of at least 4 bytes expected, found {len(block)}")
    inner = int.from_bytes(block[:4], "little")
    if inner != length:
        raise ValueError(f"the LZ4 block's length expected {length}, found {inner}")
    if length == 0:
        return b""
    if length > 255 * len(block):  # LZ4 cannot expand further: do not allocate what a damaged length asks for
        raise ValueError(f"{length} bytes expected from an LZ4 block of {len(block)}")
    import cramjam

    return bytes(cramjam.lz4.decompress_block(block[4:], output_len=length))


def _snappy(block: bytes, length: int) -> bytes:
    """A raw Snappy block, its length in front as a little-endian base-128 number."""
    inner = _base128(block[:5])
    if inner != length:  # the library allocates what the block asks for, and ends the process when it cannot
        raise ValueError(f"the Snappy block's length expected {length}, found {inner}")
    if length > 22 * len(block):  # at best 3 bytes copy 64
        raise ValueError(f"{length} bytes expected from a Snappy block of {len(block)}")
    if length == 0:
        return b""
    import cramjam

    return bytes(cramjam.snappy.decompress_raw(block))


def _base128(leading: bytes) -> int:
    """The little-endian base-128 number that `leading` starts with; -1 when it does not end there."""
    number = 0
    for index, byte in enumerate(leading):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number
    return -1


def _deflate(block: bytes, length: int) -> bytes:
    """A zlib stream; of an empty section Cassandra writes nothing, not even the stream's end."""
    if not block and not length:
        return b""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(block, length + 1)
    except zlib.error as error:
        raise ValueError(f"a block that does not decompress ({error})") from None
    if not stream.eof:
        raise ValueError(f"{length} bytes expected from the block, found {'more' if len(plain) > length else 'no end'}")
    return plain


def _zstd(block: bytes, length: int) -> bytes:
    """A Zstandard frame; its header says how long it is (RFC 8878, 3.1.1.1)."""
    inner = _frame_length(block)
    if inner is not None and inner != length:
        raise ValueError(f"the Zstandard frame's length expected {length}, found {inner}")
    import cramjam

    return bytes(cramjam.zstd.decompress(block))


def _frame_length(block: bytes) -> int | None:
    """The content size of a Zstandard frame, where its header has one."""
    if len(block) < 5:
        return None
    flags = block[4]
    single, width = flags >> 5 & 1, 1 << (flags >> 6)
    if width == 1 and not single:
        return None
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(block[at : at + width], "little") + (256 if width == 2 else 0)


def _noop(block: bytes, _: int) -> bytes:
    return block


_BY_CLASS: dict[str, Decompress] = {
    "LZ4Compressor": _lz4,
    "SnappyCompressor": _snappy,
    "DeflateCompressor": _deflate,
    "ZstdCompressor": _zstd,
    "NoopCompressor": _noop,
}


def decompressor(compression_class: str) -> Decompress:
    """The function of a `compressionClass`; `LookupError` when it is none of Cassandra's."""
    raw = _BY_CLASS[compression_class.removeprefix(_PACKAGE)]

    def checked(block: bytes, length: int) -> bytes:
        import cramjam

        try:
            plain = raw(block, length)
        except cramjam.DecompressionError as error:
            raise ValueError(f"a block that does not decompress ({error})") from None
        if len(plain) != length:
            raise ValueError(f"{length} bytes expected from the block, found {len(plain)}")
        return plain

    return checked


lz4 = _lz4
"""LZ4 alone, for the chunks of encrypted sections."""
