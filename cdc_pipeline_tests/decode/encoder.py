"""Segments written by the rules of the format document, in the plainest way: the other half of the decoder's tests.

Bytes are joined from small parts: `cell` and `collection` make the columns of a `row`; rows and `bound`s make an
`update`; updates a `mutation`; mutations in `entry` a section; sections a `segment`. Times are absolute; `Base` makes
them relative.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from cdc_pipeline_tests.types.values import vint_bytes

EPOCH_MICROS = 1442880000000000
EPOCH_SECONDS = 1442880000
NO_TIMESTAMP = -(2**63)

ROW_TIMESTAMP, ROW_TTL = 0x08, 0x10
EXCL_END, INCL_START, EXCL_END_INCL_START, INCL_END_EXCL_START, INCL_END, EXCL_START = 0, 1, 2, 5, 6, 7

Body = Callable[[bytes], bytes]
"""(entries) -> the bytes behind the marker."""


def number(value: int, size: int) -> bytes:
    """Big-endian, two's complement."""
    return (value & (1 << 8 * size) - 1).to_bytes(size, "big")


def vint(value: int) -> bytes:
    """An unsigned vint of a 64-bit pattern (6.1)."""
    return vint_bytes(value % 2**64)


def sized(value: bytes) -> bytes:
    """A vint length, then the bytes."""
    return vint(len(value)) + value


def crc(*parts: bytes) -> bytes:
    """CRC-32 of all parts."""
    return number(zlib.crc32(b"".join(parts)), 4)


# --- mutations -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """The bases of an update's times (6.3), and times written relative to them."""

    micros: int = EPOCH_MICROS
    seconds: int = EPOCH_SECONDS
    ttl_seconds: int = 0

    @property
    def stats(self) -> bytes:
        """The three numbers of an update's header."""
        ttl = vint(self.ttl_seconds)
        return vint(self.micros - EPOCH_MICROS) + vint((self.seconds - EPOCH_SECONDS) % 2**32) + ttl

    def timestamp(self, micros: int) -> bytes:
        """A timestamp."""
        return vint(micros - self.micros)

    def local(self, seconds: int) -> bytes:
        """A local deletion time: the difference modulo 2^32."""
        return vint((seconds - self.seconds) % 2**32)

    def ttl(self, seconds: int) -> bytes:
        """A time to live."""
        return vint((seconds - self.ttl_seconds) % 2**32)

    def deletion(self, micros: int, seconds: int) -> bytes:
        """A deletion time (6.4)."""
        return self.timestamp(micros) + self.local(seconds)


BASE = Base()


def cell(
    value: bytes | None,
    *,
    at: int | None = None,
    local: int | None = None,
    ttl: int | None = None,
    path: bytes | None = None,
    fixed: bool = False,
    flags: int = 0,
    base: Base = BASE,
) -> bytes:
    """A cell (6.9). `value` None is a tombstone; `at` None takes the row's timestamp; `ttl` makes it expire.

    `fixed` writes the value bare. `flags` adds `ROW_TTL`: TTL and local deletion time of the row.
    """
    flags |= 0x01 if value is None else 0x02 if ttl is not None or flags & ROW_TTL else 0
    flags |= 0 if value else 0x04
    flags |= ROW_TIMESTAMP if at is None else 0
    out = bytes([flags])
    if at is not None:
        out += base.timestamp(at)
    if flags & 0x03 and not flags & ROW_TTL:
        assert local is not None
        out += base.local(local)
        if ttl is not None:
            out += base.ttl(ttl)
    if path is not None:
        out += sized(path)
    if value:
        out += value if fixed else sized(value)
    return out


def collection(cells: Sequence[bytes], deletion: bytes = b"") -> bytes:
    """A multi-cell column: its deletion where the row has the flag for it, the number of cells, the cells."""
    return deletion + vint(len(cells)) + b"".join(cells)


def clustering(values: Sequence[bytes | None], fixed: bool = False) -> bytes:
    """Clustering values (6.7): for each 32, two bits per value, then the values that are not null or empty."""
    out = b""
    for first in range(0, len(values), 32):
        batch = values[first : first + 32]
        header = sum((2 if value is None else 0 if value else 1) << 2 * i for i, value in enumerate(batch))
        out += vint(header) + b"".join((value if fixed else sized(value)) for value in batch if value)
    return out


@dataclass(frozen=True)
class Liveness:
    """A row's liveness; it expires when it has a TTL."""

    micros: int
    ttl: int | None = None
    local: int | None = None


def row(
    prefix: bytes = b"",
    columns: Iterable[bytes] = (),
    *,
    live: Liveness | None = None,
    deletion: bytes | None = None,
    subset: bytes | None = None,
    flags: int = 0,
    extended: int | None = None,
    base: Base = BASE,
) -> bytes:
    """A row (6.6); `subset` None means that all columns are there; `flags` adds 0x40; `extended` writes that byte."""
    flags |= 0x04 if live else 0
    flags |= 0x08 if live and live.ttl is not None else 0
    flags |= 0x10 if deletion is not None else 0
    flags |= 0x20 if subset is None else 0
    flags |= 0x80 if extended is not None else 0
    out = bytes([flags]) + (bytes([extended]) if extended is not None else b"") + prefix
    if live:
        out += base.timestamp(live.micros)
        if live.ttl is not None:
            assert live.local is not None
            out += base.ttl(live.ttl) + base.local(live.local)
    return out + (deletion or b"") + (subset or b"") + b"".join(columns)


def static_row(columns: Iterable[bytes], **how: Any) -> bytes:
    """A static row: no clustering, and its own extended flag."""
    return row(columns=columns, extended=1, **how)


def bound(kind: int, values: Sequence[bytes | None], *deletions: bytes, fixed: bool = False) -> bytes:
    """A range tombstone marker: kind, count, values, and one deletion time, or two at a boundary."""
    return bytes([2, kind]) + number(len(values), 2) + clustering(values, fixed) + b"".join(deletions)


def names(columns: Sequence[str]) -> bytes:
    """A header's column list."""
    return vint(len(columns)) + b"".join(sized(name.encode()) for name in columns)


def composite(*parts: bytes) -> bytes:
    """A partition key of several columns."""
    return b"".join(number(len(part), 2) + part + b"\0" for part in parts)


def update(
    table_id: bytes,
    key: bytes,
    rows: Sequence[bytes] = (),
    *,
    columns: Sequence[str] = (),
    static_columns: Sequence[str] | None = None,
    static: bytes = b"",
    deletion: bytes | None = None,
    base: Base = BASE,
) -> bytes:
    """A partition update (6.3)."""
    flags = 0x10 | (0x04 if deletion is not None else 0) | (0x08 if static_columns is not None else 0)
    header = base.stats + (names(static_columns) if static_columns is not None else b"") + names(columns)
    estimate = vint(sum(1 for one in rows if not one[0] & 0x02))
    body = (deletion or b"") + static + estimate + b"".join(rows) + b"\1"
    return table_id + sized(key) + bytes([flags]) + header + body


def empty_update(table_id: bytes, key: bytes) -> bytes:
    """An update that says nothing (IS_EMPTY)."""
    return table_id + sized(key) + b"\1"


def mutation(*updates: bytes) -> bytes:
    """A mutation (6.2)."""
    return vint(len(updates)) + b"".join(updates)


def entry(mutation_bytes: bytes) -> bytes:
    """An entry (5): size, its CRC, the mutation, the CRC of both."""
    size = number(len(mutation_bytes), 4)
    return size + crc(size) + mutation_bytes + crc(size, mutation_bytes)


# --- segments --------------------------------------------------------------------------------------------------------


def header(version: int, segment_id: int, parameters: bytes = b"{}") -> bytes:
    """A segment header (2)."""
    fixed = number(version, 4), number(segment_id, 8), number(len(parameters), 2)
    low, high = fixed[1][4:], fixed[1][:4]
    return b"".join(fixed) + parameters + crc(fixed[0], low, high, number(len(parameters), 4), parameters)


def marker(segment_id: int, at: int, following: int) -> bytes:
    """A sync marker (3.1) that lies at `at` of the file."""
    return number(following, 4) + crc(number(segment_id, 4), number(segment_id >> 32, 4), number(at, 4))


def plain(entries: bytes) -> bytes:
    """The body of a plain section."""
    return entries


def segment(
    sections: Sequence[bytes],
    *,
    version: int = 7,
    segment_id: int = 1700000000001,
    parameters: dict[str, Any] | None = None,
    body: Body = plain,
    tail: bytes = bytes(8),
) -> bytes:
    """A segment of these sections, each the entries in it; `tail` follows the last one."""
    out = header(version, segment_id, json.dumps(parameters or {}).encode())
    for entries in sections:
        stored = body(entries)
        out += marker(segment_id, len(out), len(out) + 8 + len(stored)) + stored
    return out + tail


def write(folder: Path, data: bytes, *, version: int = 7, segment_id: int = 1700000000001) -> Path:
    """A segment file under the name that its header asks for."""
    path = folder / f"CommitLog-{version}-{segment_id}.log"
    path.write_bytes(data)
    return path


# --- compressed and encrypted bodies ---------------------------------------------------------------------------------


def lz4(data: bytes) -> bytes:
    """LZ4Compressor: the length, little-endian, and a raw block."""
    return len(data).to_bytes(4, "little") + bytes(cramjam.lz4.compress_block(data, store_size=False))


COMPRESSORS: dict[str, Body] = {
    "LZ4Compressor": lz4,
    "SnappyCompressor": lambda data: bytes(cramjam.snappy.compress_raw(data)),
    "DeflateCompressor": zlib.compress,
    "ZstdCompressor": lambda data: bytes(cramjam.zstd.compress(data)),
    "NoopCompressor": plain,
}
"""Block of a section by `compressionClass` (4.1)."""


def compressed(name: str) -> Body:
    """The body of a section under this compressor."""
    return lambda entries: number(len(entries), 4) + COMPRESSORS[name](entries)


def encrypted(key: bytes, iv: bytes, chunk: int = 65536) -> Body:
    """The body of an encrypted section (4.2)."""

    def body(entries: bytes) -> bytes:
        pieces = [entries[at : at + chunk] for at in range(0, len(entries), chunk)]
        return number(len(entries), 4) + b"".join(encrypted_chunk(number(len(p), 4) + lz4(p), key, iv) for p in pieces)

    return body


def encrypted_chunk(data: bytes, key: bytes, iv: bytes) -> bytes:
    """Cipher length, plain length, AES/CBC/PKCS5."""
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    cipher_text = encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()
    return number(len(cipher_text), 4) + number(len(data), 4) + cipher_text


def encryption_parameters(iv: bytes, alias: str = "testing:1") -> dict[str, Any]:
    """Header parameters of an encrypted segment."""
    return {"encCipher": "AES/CBC/PKCS5Padding", "encIV": iv.hex(), "encKeyAlias": alias}
