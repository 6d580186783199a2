"""Whether the rate stays: `python -m cdc_pipeline_tests.benchmarks.load [ROWS]`, 10 million by default.

The recorded events are loaded again and again, each time with later clustering keys in the same partitions, as a table
of measurements grows, at most 40 times (a shipped piece of the recording is small); printed are the rate of each round,
and that of the last as a share of the second's.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from cdc_pipeline.change import ChangeBatch
from cdc_pipeline.cli.bench_decode import peak_rss_mb
from cdc_pipeline.cli.loading import Alter, load, settings
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project
from cdc_pipeline_tests.benchmarks.segments import unpacked

ROWS = 10_000_000
_TABLE = "bench.events"
_ROUNDS = 40
_FURTHER = 1 << 44
"""Between two rounds; the recorded clustering keys lie closer together."""


def main() -> None:
    """Prints a line per round."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, CPython {platform.python_version()}, {rows:,} rows")
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        recording = unpacked("bench-5.0", Path(folder), 1)
        directory = recording.directory
        lanes = [Lane("bench", f"round{number}") for number in range(_ROUNDS)]
        with Project(settings(directory, recording.schema, Path(folder), [_TABLE], lanes)) as project:
            rates = _rounds(project, lanes, rows)
    print(f"last / second round: {rates[-1] / rates[1]:.2f}; peak memory of our process {peak_rss_mb():.0f} MB")


def _rounds(project: Project, lanes: list[Lane], rows: int) -> list[float]:
    rates: list[float] = []
    loaded = 0
    for number, lane in enumerate(lanes):
        done = load(project, lane, _further(number * _FURTHER))
        loaded += done.changes
        rates.append(done.rate)
        print(
            f"  {loaded:>12,} rows  {done.rate:>9,.0f} changes/s  {done.cpu_per_100k:.2f} CPU s per 100 000", flush=True
        )
        if loaded >= rows:
            break
    return rates


def _further(distance: int) -> Alter:
    """The same changes of rows that lie so much further in their partitions."""

    def alter(decoded: DecodedBatch) -> DecodedBatch:
        return dataclasses.replace(decoded, tables=tuple(_moved(batch, distance) for batch in decoded.tables))

    return alter


def _moved(batch: ChangeBatch, distance: int) -> ChangeBatch:
    column = batch.rows.column("ck0")
    _, offsets, data = column.buffers()
    moved = (np.frombuffer(data, ">i8", count=len(column)) + distance).astype(">i8").tobytes()
    keys = pa.Array.from_buffers(pa.binary(), len(column), [None, offsets, pa.py_buffer(moved)])
    rows = batch.rows.set_column(batch.rows.schema.get_field_index("ck0"), "ck0", keys)
    return dataclasses.replace(batch, make_rows=lambda: rows)


if __name__ == "__main__":
    main()
