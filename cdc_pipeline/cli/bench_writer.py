"""The other half of `bench live`: a process that writes real mutations as Cassandra does, at a steady rate.

`python -m cdc_pipeline.cli.bench_writer SEGMENT DIRECTORY RATE SECONDS MUTATIONS`: takes the mutations of a segment and
writes them into new ones through a memory map, `MUTATIONS` a section and `RATE` sections a second, the index after
each.
Prints a line per section: segment id, position, and the clock just before the index is written (monotonic, ns).
"""

from __future__ import annotations

import mmap
import sys
import time
import zlib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from cdc_pipeline.decode import SegmentFile
from cdc_pipeline.decode.segment import Section

_SIZE = 32 * 2**20
_ENTRY_OVERHEAD = 12


def entries(segment: Path) -> Iterator[bytes]:
    """The entries of a segment (format document, 5): size, CRC, mutation, CRC."""
    with SegmentFile(segment) as file:
        for section in file.sections():
            if not isinstance(section, Section):
                continue
            at = 0
            while size := int.from_bytes(section.data[at : at + 4], "big"):
                if at + size + _ENTRY_OVERHEAD > section.length:
                    break
                yield section.data[at : at + size + _ENTRY_OVERHEAD]
                at += size + _ENTRY_OVERHEAD


def header(version: int, segment_id: int) -> bytes:
    """The header of a plain segment (2)."""
    parameters = b"{}"
    number, length = segment_id.to_bytes(8, "big"), len(parameters)
    checked = version.to_bytes(4, "big") + number[4:] + number[:4] + length.to_bytes(4, "big") + parameters
    crc = zlib.crc32(checked).to_bytes(4, "big")
    return version.to_bytes(4, "big") + number + length.to_bytes(2, "big") + parameters + crc


def marker(segment_id: int, at: int, following: int) -> bytes:
    """A sync marker (3.1)."""
    parts = (segment_id & 0xFFFFFFFF, segment_id >> 32, at)
    crc = zlib.crc32(b"".join(part.to_bytes(4, "big") for part in parts))
    return following.to_bytes(4, "big") + crc.to_bytes(4, "big")


class Writer:
    """Segments of a directory, one after the other."""

    def __init__(self, directory: Path, version: int) -> None:
        self._directory = directory
        self._version = version
        self._id = int(time.time() * 1000)
        self._at = 0
        self._next()

    def write(self, section: bytes) -> None:
        """One section and its index."""
        if self._at + 16 + len(section) > _SIZE:
            self._index("\nCOMPLETED")
            self._map.close()
            self._id += 1
            self._next()
        at, following = self._at, self._at + 8 + len(section)
        self._map[at + 8 : following] = section
        self._map[at : at + 8] = marker(self._id, at, following)
        self._at = following
        self._index("")

    def _next(self) -> None:
        path = self._directory / f"CommitLog-{self._version}-{self._id}.log"
        first = header(self._version, self._id)
        with path.open("w+b") as file:
            file.truncate(_SIZE)
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._map[: len(first)] = first
        self._at = len(first)

    def _index(self, rest: str) -> None:
        path = self._directory / f"CommitLog-{self._version}-{self._id}_cdc.idx"
        with path.open("w") as file:
            file.write(f"{self._at}{rest}")
            now = time.monotonic_ns()
            file.flush()
        if not rest:
            sys.stdout.write(f"{self._id} {self._at} {now}\n")


def main() -> None:
    segment, directory, rate, seconds, mutations = sys.argv[1:]
    with SegmentFile(Path(segment)) as file:
        version = file.header.version
    source = cycle(list(entries(Path(segment))))
    writer = Writer(Path(directory), version)
    began = time.monotonic()
    for number in range(int(float(rate) * float(seconds))):
        time.sleep(max(0.0, began + number / float(rate) - time.monotonic()))
        writer.write(b"".join(next(source) for _ in range(int(mutations))))
    time.sleep(0.5)  # the follower's last look


if __name__ == "__main__":
    main()
