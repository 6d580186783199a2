"""A request's body: of a known length, in chunks, or none."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from io import BufferedIOBase

from .engine import refusal

_PIECE = 1 << 20
_LONGEST_LINE = 4096


class CutOff(Exception):
    """The client went before its body was whole."""


def _exactly(source: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = source.read(min(length, _PIECE))
        if not piece:
            raise CutOff
        length -= len(piece)
        yield piece


def _line(source: BufferedIOBase) -> bytes:
    line = source.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise CutOff
    return line.strip()


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    while True:
        try:
            length = int(_line(source).split(b";")[0], 16)
        except ValueError:
            raise CutOff from None
        yield from _exactly(source, length)
        if length == 0:
            while _line(source):  # trailers
                pass
            return
        _line(source)


def pieces(source: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    """The bytes of the body in pieces of at most 1 MiB; raises `CutOff` when it ends too early."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return _chunks(source)
    length = headers.get("Content-Length", "0")
    if not length.isdigit():
        raise CutOff
    return _exactly(source, int(length))


def decoded(source: Iterator[bytes], headers: Message) -> Iterator[bytes]:
    """The body without its `Content-Encoding`; raises `EngineError` for one that is not known or not true."""
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding in ("", "identity"):
        return source
    if encoding in ("gzip", "deflate"):
        return _inflated(source)
    if encoding not in ("lz4", "zstd", "br"):
        raise refusal(f"Unknown compression method '{encoding}'", 48, "NOT_IMPLEMENTED")
    return _unpacked(source, encoding)


def _inflated(source: Iterator[bytes]) -> Iterator[bytes]:
    machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for piece in source:
        try:
            yield machine.decompress(piece)
        except zlib.error as error:
            raise refusal(f"inflate failed: {error}", 354, "ZLIB_INFLATE_FAILED") from None
    yield machine.flush()


def _unpacked(source: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """One frame after the other, of which a client may send one for each of its blocks."""
    import cramjam  # of the pipeline's own packages; seldom needed, for clients on loopback had better not compress

    codec = {"lz4": cramjam.lz4, "zstd": cramjam.zstd, "br": cramjam.brotli}[encoding]
    packed = b"".join(source)
    try:
        yield bytes(codec.decompress(packed))
    except cramjam.DecompressionError as error:
        raise refusal(f"cannot decompress {encoding}: {error}", 271, "CANNOT_DECOMPRESS") from None


def form_fields(source: Iterator[bytes], headers: Message) -> Iterator[tuple[str, str]]:
    """The fields of a form, which is how a client sends a statement with long parameters; none for another body."""
    kind = headers.get("Content-Type", "")
    if not kind.lower().startswith("multipart/form-data"):
        return
    whole = b"".join(source)
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + whole)
    for part in form.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            name = part.get_param("name", "", "content-disposition")
            yield str(name), payload.decode() if isinstance(payload, bytes) else ""
