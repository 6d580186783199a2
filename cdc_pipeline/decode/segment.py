"""A segment file: header, sync markers, section bodies (format document, sections 2 to 4)."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cdc_pipeline.change import parse_segment_name
from cdc_pipeline.decode.compression import LARGEST_SECTION, decompressor
from cdc_pipeline.decode.encryption import KeyProvider, decrypt_section
from cdc_pipeline.decode.section_cy import SLACK
from cdc_pipeline.errors import (
    ConfigurationError,
    HeaderError,
    MarkerError,
    MarkerUnfinished,
    SectionError,
    UnsupportedVersion,
)

VERSIONS = (6, 7, 8)
"""Segment versions this decoder reads: Cassandra 3.0 to 5.0."""

_MARKER = 8
_INTS = struct.Struct(">III")
_MARKED = struct.Struct(">II")
_NO_MARKER = (-1, b"")

Body = Callable[[bytes], bytes]
"""(the bytes between a marker and the next) -> the entries."""


@dataclass(frozen=True, slots=True)
class Header:
    """A segment header (section 2); `length` is where the first marker lies, bytes."""

    version: int
    segment_id: int
    length: int
    parameters: dict[str, Any] = field(default_factory=dict)


class Section(NamedTuple):
    """A section: where its marker lies in the file, its logical start (3.5), and its entries, the first `length` bytes
    of `data`, which goes on for at least `SLACK` bytes."""

    file_offset: int
    logical_start: int
    data: bytes
    length: int

    @property
    def logical_end(self) -> int:
        """The logical position behind its last byte."""
        return self.logical_start + _MARKER + self.length


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A damaged place of the walk; a reader that stands at `logical_end` has passed it."""

    error: MarkerError | SectionError
    logical_end: int


class SegmentFile:
    """An open segment. Use as a context manager; an open one stays readable after Cassandra unlinks it."""

    def __init__(self, path: Path, keys: KeyProvider | None = None) -> None:
        self.name = path.name
        self._fd = os.open(path, os.O_RDONLY)
        try:
            self.header = self._read_header()
            self._size = 0
            self._peeked = _NO_MARKER
            self._at = self._logical = self.header.length
            self.overhead, self._body = _body_reader(self.name, self.header, keys)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> SegmentFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def size(self) -> int:
        """The file's length now, bytes; it grows while compressed, encrypted and Direct I/O segments are written."""
        return os.fstat(self._fd).st_size

    def rewind(self) -> None:
        """Lets `sections` begin at the first one again."""
        self._at = self._logical = self.header.length
        self._peeked = _NO_MARKER

    def sections(self, after: int = 0, until: int | None = None) -> Iterator[Section | Unreadable]:
        """The sections in order that end beyond the logical position `after` and not beyond `until`.

        A section that was passed does not come again, nor is it read again: on a segment that is still written, further
        calls go on where the last one stood. With `until` the segment is live: a marker that is only half written, or
        that points beyond the file, ends the walk, to be looked at again.

        A section that cannot be decompressed comes as `Unreadable` and the walk goes on, as Cassandra's does; a damaged
        marker comes as the last one.
        """
        while until is None or self._logical < until:
            at, logical = self._at, self._logical
            try:
                following = self._next_marker(at)
            except MarkerError as error:
                if until is None or not isinstance(error, MarkerUnfinished):
                    yield Unreadable(error, logical + 1)
                return
            if following is None:
                return
            length = following - at - _MARKER
            if self.overhead:
                length = min(LARGEST_SECTION, int.from_bytes(self._pread(at + _MARKER, min(4, length)), "big"))
            logical_end = logical + _MARKER + length
            if until is not None and logical_end > until:
                return
            self._at, self._logical = following, logical_end
            if logical_end > after:
                yield self._section(at, following, logical, logical_end)

    def _section(self, at: int, following: int, logical: int, logical_end: int) -> Section | Unreadable:
        if not self.overhead:  # what lies behind it in the file serves as slack
            length = following - at - _MARKER
            data = self._pread(at + _MARKER, length + SLACK)
            self._peeked = (following, data[length : length + _MARKER])
            missing = length + SLACK - len(data)
            return Section(at, logical, data + bytes(missing) if missing else data, length)
        try:
            data = self._body(self._pread(at + _MARKER, following - at - _MARKER))
        except ValueError as error:
            found = SectionError(self.name, at, f"a section that cannot be read: {error}")
            return Unreadable(found, logical_end)
        return Section(at, logical, data + bytes(SLACK), len(data))

    def _next_marker(self, at: int) -> int | None:
        """Where the section that starts at marker `at` ends; None at a clean end (3.1)."""
        if self._size - at < _MARKER:
            self._size = self.size
            if self._size - at < _MARKER:
                return None
        segment_id = self.header.segment_id
        expected = zlib.crc32(_INTS.pack(segment_id & 0xFFFFFFFF, segment_id >> 32, at))
        peeked, self._peeked = self._peeked, _NO_MARKER
        following, found = _MARKED.unpack(peeked[1]) if peeked[0] == at and len(peeked[1]) == _MARKER else (0, 0)
        if found != expected:  # nothing that was read with the section before, or not all of it yet
            raw = self._pread(at, _MARKER)
            if len(raw) < _MARKER:  # the file shrank meanwhile
                return None
            following, found = _MARKED.unpack(raw)
        if found != expected:
            if following == 0 and found == 0:
                return None
            kind = MarkerError if found else MarkerUnfinished  # its two halves are not written at once (3.1)
            raise kind(self.name, at, "marker CRC", expected=f"{expected:08x}", found=f"{found:08x}")
        if following > self._size:
            self._size = self.size
        end = int(following)
        if not at + _MARKER <= end <= self._size:
            expected_range = f"{at + _MARKER} to {self._size}"
            kind = MarkerUnfinished if end > self._size else MarkerError
            raise kind(self.name, at, "next marker at", expected=expected_range, found=end)
        return end

    def _read_header(self) -> Header:
        raw = self._pread(0, 14)
        if len(raw) < 14:
            raise HeaderError(self.name, 0, "header of at least 14 bytes", expected=14, found=len(raw))
        version = int.from_bytes(raw[:4], "big")
        length = int.from_bytes(raw[12:14], "big")
        rest = self._pread(14, length + 4)
        if len(rest) < length + 4:
            raise HeaderError(self.name, 14, "header bytes", expected=length + 4, found=len(rest))
        checked = raw[:4] + raw[8:12] + raw[4:8] + length.to_bytes(4, "big") + rest[:length]
        expected, found = zlib.crc32(checked), int.from_bytes(rest[length:], "big")
        if expected != found:
            raise HeaderError(self.name, 14 + length, "header CRC", expected=f"{expected:08x}", found=f"{found:08x}")
        if version not in VERSIONS:
            known = ", ".join(map(str, VERSIONS))
            raise UnsupportedVersion(self.name, 0, "segment version", expected=known, found=version)
        segment_id = int.from_bytes(raw[4:12], "big")
        named = parse_segment_name(self.name)
        if named is not None and named.id != segment_id:
            raise HeaderError(self.name, 4, "segment id of the file name", expected=named.id, found=segment_id)
        try:
            parameters = json.loads(rest[:length] or b"{}")
        except ValueError:
            parameters = None
        if not isinstance(parameters, dict):
            raise HeaderError(self.name, 14, "header parameters", expected="a JSON object", found="something else")
        return Header(version, segment_id, 18 + length, parameters)

    def _pread(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)


def _body_reader(name: str, header: Header, keys: KeyProvider | None) -> tuple[int, Body]:
    """(bytes of length before a body, the function that makes its entries) by the header's parameters."""
    cipher, alias = header.parameters.get("encCipher"), header.parameters.get("encKeyAlias")
    if cipher and alias:
        return 4, _encrypted(name, header, str(cipher), str(alias), keys)
    compression = header.parameters.get("compressionClass")
    if not compression:
        return 0, bytes
    try:
        decompress = decompressor(str(compression))
    except LookupError:
        raise HeaderError(name, 14, "compressionClass", expected="one of Cassandra's", found=compression) from None

    def compressed(body: bytes) -> bytes:
        if len(body) < 4:
            raise ValueError(f"a compressed section of at least 4 bytes expected, found {len(body)}")
        return decompress(body[4:], int.from_bytes(body[:4], "big"))

    return 4, compressed


def _encrypted(name: str, header: Header, cipher: str, alias: str, keys: KeyProvider | None) -> Body:
    if not cipher.startswith("AES/CBC/PKCS5"):
        raise HeaderError(name, 14, "encCipher", expected="AES/CBC/PKCS5Padding", found=cipher)
    key = keys.key(alias) if keys is not None else None
    if key is None:
        raise ConfigurationError(f"expected a key with alias {alias} for an encrypted segment, found none", where=name)
    try:
        iv = bytes.fromhex(str(header.parameters.get("encIV", "")))
    except ValueError:
        iv = b""
    if len(iv) != 16:
        raise HeaderError(name, 14, "encIV", expected="16 bytes", found=f"{len(iv)} bytes")
    return lambda body: decrypt_section(body, key, iv)
