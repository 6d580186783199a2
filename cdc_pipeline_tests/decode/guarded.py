"""A child process that decodes sections lying against a page that may not be touched: a read too far kills it.

    python -m cdc_pipeline_tests.decode.guarded SCHEMA.json SECTIONS    the sections' lengths and bytes
    python -m cdc_pipeline_tests.decode.guarded                         reads one byte too far on purpose

CPython's `bytes` are made by hand at the end of the memory before that page.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

from cdc_pipeline.decode import COMPILED, Decoder
from cdc_pipeline.decode.section_cy import SLACK
from cdc_pipeline.schema import load_schema

_HEAD = bytes.__basicsize__ - 1
_REFERENCES = 2**30
_KEPT: list[mmap.mmap] = []


def guarded(data: bytes) -> bytes:
    """The same bytes, the last of them (the NUL that CPython puts behind) the last that may be read. They are never
    given back: to count references means to write to their head."""
    room = -(-(_HEAD + len(data) + 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    _KEPT.append(memory)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + room
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(end), mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    at = end - _HEAD - len(data) - 1
    ctypes.memmove(at, id(data), _HEAD + len(data) + 1)
    ctypes.c_ssize_t.from_address(at).value = _REFERENCES
    held: bytes = ctypes.cast(at, ctypes.py_object).value
    return held


def main() -> None:
    """Prints how many sections were read and how many failures they gave."""
    if len(sys.argv) == 1:
        held = guarded(b"x")
        print(ctypes.string_at(id(held) + _HEAD, 2), flush=True)
        print(ctypes.string_at(id(held) + _HEAD, 3), flush=True)
        return
    assert COMPILED
    decoder = Decoder(load_schema(Path(sys.argv[1])), lambda _: True)
    kernel = decoder._kernel
    data, at, read, failures = Path(sys.argv[2]).read_bytes(), 0, 0, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        held = guarded(data[at + 4 : at + 4 + size] + b"\xff" * SLACK)
        kernel.read(held, size, 0, 1000, 0, False, 2**60, 2**60)
        failures += len(kernel.take_failures())
        for columns in kernel.waiting():
            columns.discard()
        at += 4 + size
        read += 1
    print(read, failures)


if __name__ == "__main__":
    main()
