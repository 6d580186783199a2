"""`bench decode`: what decoding costs on given segments, and where the time goes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.decode import Decoder, KeyProvider, Section, SegmentFile
from cdc_pipeline.decode.section_cy import COMPILED, Kernel
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema


@dataclass(frozen=True)
class DecodeFigures:
    """Medians of several passes over the same segments on one core.

    Times in s of the CPU, but for `seconds`, which other work on the machine makes longer. The parts add up to
    `cpu_seconds`: `reading` files, markers and decompression; `framing` the sizes of the entries; `crc` both CRC-32 of
    each; `rows` mutations to columns; `assembly` columns to Arrow record batches.
    """

    mutations: int
    changes: int
    cells: int
    bytes: int
    seconds: float
    cpu_seconds: float
    reading: float
    framing: float
    crc: float
    rows: float
    assembly: float
    peak_rss_mb: float

    def record(self) -> dict[str, object]:
        """The figures with their rates and shares, for printing."""
        parts = ("reading", "framing", "crc", "rows", "assembly")
        return {
            "benchmark": "decode",
            "mutations": self.mutations,
            "changes": self.changes,
            "cells": self.cells,
            "bytes": self.bytes,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "mutations_per_s": self.mutations / self.cpu_seconds,
            "cells_per_s": self.cells / self.cpu_seconds,
            "mb_per_s": self.bytes / self.cpu_seconds / 1e6,
            **{f"{part}_share": getattr(self, part) / self.cpu_seconds for part in parts},
            "peak_rss_mb": self.peak_rss_mb,
            "compiled": COMPILED,
        }


def measure_decoding(
    files: Sequence[Path], schema: Schema, passes: int, keys: KeyProvider | None = None
) -> DecodeFigures:
    """Decodes all tables but Cassandra's own, after one pass that is not counted; the parts take turns."""
    bench = _Bench(files, schema, keys)
    steps: dict[str, Callable[[], None]] = {
        "reading": bench.read,
        "framing": lambda: bench.walk(checked=False),
        "crc": lambda: bench.walk(checked=True),
        "rows": bench.decode,
        "whole": bench.assemble,
    }
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    walls = []
    for number in range(passes + 1):
        for name, step in steps.items():
            wall, started = time.perf_counter(), time.process_time()
            step()
            if number:
                cpu[name].append(time.process_time() - started)
                if name == "whole":
                    walls.append(time.perf_counter() - wall)
    upto = {name: statistics.median(times) for name, times in cpu.items()}
    names = list(steps)
    parts = {name: max(0.0, upto[name] - upto[before]) for before, name in itertools.pairwise(names)}
    return DecodeFigures(
        mutations=bench.mutations,
        changes=bench.changes,
        cells=bench.cells,
        bytes=bench.bytes,
        seconds=statistics.median(walls),
        cpu_seconds=upto["whole"],
        reading=upto["reading"],
        framing=parts["framing"],
        crc=parts["crc"],
        rows=parts["rows"],
        assembly=parts["whole"],
        peak_rss_mb=peak_rss_mb(),
    )


class _Bench:
    """The steps of a pass; the counts are those of the last one."""

    def __init__(self, files: Sequence[Path], schema: Schema, keys: KeyProvider | None) -> None:
        self._files = files
        self._keys = keys
        self._decoder = Decoder(schema, lambda table: table.keyspace not in SYSTEM_KEYSPACES, keys=keys)
        self.mutations = self.changes = self.cells = self.bytes = 0

    def read(self) -> None:
        for file in self._files:
            with SegmentFile(file, self._keys) as segment:
                for _ in segment.sections():
                    pass

    def walk(self, *, checked: bool) -> None:
        kernel = Kernel({})
        for file in self._files:
            with SegmentFile(file, self._keys) as segment:
                for section in segment.sections():
                    if isinstance(section, Section):
                        kernel.walk(section.data, section.length, checked)

    def decode(self) -> None:
        self.mutations = 0
        for file in self._files:
            for batch in self._decoder.read(file):
                self.mutations += batch.mutations

    def assemble(self) -> None:
        self.changes = self.cells = self.bytes = 0
        for file in self._files:
            end = 0
            for batch in self._decoder.read(file):
                end = batch.end
                for table in batch.tables:
                    self.changes += table.rows.num_rows
                    self.cells += table.cells.num_rows
            self.bytes += end


def peak_rss_mb() -> float:
    """The most memory that this process has held, MB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # not Linux
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
