"""One Arrow stream out of chDB's blocks, each of which is an Arrow stream of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_PREFIX = 8  # the mark of a message, and the length of its metadata; a schema has no body


def joined(streams: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """The messages of streams of one schema: the schema once, then every batch, then the end."""
    first = True
    for stream in streams:
        begin = 0 if first else _PREFIX + int.from_bytes(stream[4:8], "little")
        end = len(stream) - len(_END) if stream[-len(_END) :] == _END else len(stream)
        yield stream[begin:end]
        first = False
    yield _END
