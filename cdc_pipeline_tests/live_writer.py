"""A process that writes segments the way Cassandra does: nothing about it is atomic.

`python -m cdc_pipeline_tests.live_writer DIRECTORY KIND SEED SECTIONS`, KIND `plain` or `compressed`. A plain segment
is made at full size; a section's bytes come in pieces, then the next marker is zeroed, then its own marker is filled
in, one half after the other; the index is truncated, then written, sometimes late and in pieces. A compressed one
grows.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import FIRST, Node, event, user

SECTIONS_PER_SEGMENT = 12
SIZE = 2**17


class Writer:
    """Writes one segment after the other, a spare one always ahead."""

    def __init__(self, directory: Path, kind: str, seed: int) -> None:
        self.node = Node(directory)
        self.random = random.Random(seed)
        self.parameters = b'{"compressionClass":"LZ4Compressor"}' if kind == "compressed" else b"{}"
        self.body = en.compressed("LZ4Compressor") if kind == "compressed" else en.plain
        self.grows = kind == "compressed"
        self.number = 0
        self._spare(0)

    def segment(self, sections: int) -> None:
        """One segment from its first section to `COMPLETED`."""
        self._spare(self.number + 1)
        segment_id = FIRST + self.number
        handle = os.open(self.node.path(self.number), os.O_RDWR)
        at = logical = len(en.header(7, segment_id, self.parameters))
        for number in range(sections):
            entries = b"".join(map(en.entry, self._mutations(number)))
            stored = self.body(entries)
            following = at + 8 + len(stored)
            marker = en.marker(segment_id, at, following)
            if self.grows:
                self._pieces(handle, at, marker + stored)
            else:
                self._pieces(handle, at + 8, stored)
                os.pwrite(handle, bytes(8), following)
                os.pwrite(handle, marker[:4], at)
                self._pause()
                os.pwrite(handle, marker[4:], at + 4)
            at, logical = following, logical + 8 + len(entries)
            self._pause()
            self._index(f"{logical}")
        self._index(f"{logical}\nCOMPLETED")
        os.close(handle)
        self.number += 1

    def _mutations(self, section: int) -> list[bytes]:
        first = (self.number * SECTIONS_PER_SEGMENT + section) * 40
        count = self.random.randrange(1, 30)
        return [user(first + i) if self.random.random() < 0.5 else event(first, i) for i in range(count)]

    def _spare(self, number: int) -> None:
        data = en.header(7, FIRST + number, self.parameters)
        self.node.path(number).write_bytes(data if self.grows else data + bytes(SIZE - len(data)))

    def _pieces(self, handle: int, at: int, data: bytes) -> None:
        cut = self.random.randrange(len(data) + 1)
        os.pwrite(handle, data[:cut], at)
        self._pause()
        os.pwrite(handle, data[cut:], at + cut)

    def _index(self, text: str) -> None:
        with self.node.index(self.number).open("w") as file:
            self._pause()
            cut = self.random.randrange(len(text) + 1)
            file.write(text[:cut])
            file.flush()
            self._pause()
            file.write(text[cut:])

    def _pause(self) -> None:
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 0.004)


def main() -> None:
    directory, kind, seed, sections = sys.argv[1:]
    writer = Writer(Path(directory), kind, int(seed))
    left = int(sections)
    while left > 0:
        writer.segment(min(SECTIONS_PER_SEGMENT, left))
        left -= SECTIONS_PER_SEGMENT


if __name__ == "__main__":
    main()
