"""`bench live`: how long after its index update a change is decoded, beside a process that writes."""

from __future__ import annotations

import bisect
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.capture.watch import POLL_SECONDS
from cdc_pipeline.change import START, parse_segment_name
from cdc_pipeline.cli.app import JsonOption, output
from cdc_pipeline.cli.bench import Directory, SchemaFile, bench_app, beside, recording, show
from cdc_pipeline.decode import Decoder
from cdc_pipeline.errors import CdcError
from cdc_pipeline.following import LogReader
from cdc_pipeline.schema import SYSTEM_KEYSPACES, load_schema

Decoded = dict[int, tuple[list[int], list[int]]]
"""By segment id: positions reached, and the clock at each (monotonic, ns)."""


@bench_app.command("live")
def bench_live(
    directory: Directory = None,
    schema: SchemaFile = None,
    rate: Annotated[float, typer.Option(help="Index updates a second.", min=1)] = 100.0,
    seconds: Annotated[float, typer.Option(help="How long is written.", min=1)] = 10.0,
    mutations: Annotated[int, typer.Option(help="Mutations between two index updates.", min=1)] = 20,
    polling: Annotated[bool, typer.Option("--polling", help="Without the kernel's notifications.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Follows a segment while another process writes real mutations; latency from the index update to decoded columns.

    Example: `cdc-pipeline bench live data/cdc_raw --rate 100`
    """
    directory = directory or recording()
    decoder = Decoder(load_schema(schema or beside(directory)), lambda table: table.keyspace not in SYSTEM_KEYSPACES)
    segment = max(segment_files([directory]), key=lambda path: path.stat().st_blocks)
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        arguments = [str(segment), folder, str(rate), str(seconds), str(mutations)]
        cpu = time.process_time()
        written, decoded, count = _run(arguments, Path(folder), decoder, seconds + 30, polling)
        cpu = time.process_time() - cpu
    latencies = sorted(_latencies(written, decoded))
    show(
        output(as_json),
        {
            "benchmark": "live",
            "index_updates": len(written),
            "mutations": count,
            "notified": not polling,
            "p50_ms": _quantile(latencies, 0.5),
            "p99_ms": _quantile(latencies, 0.99),
            "max_ms": latencies[-1],
            "cpu_share": cpu / seconds,
        },
    )
    return 0


def _run(
    arguments: list[str], folder: Path, decoder: Decoder, seconds: float, polling: bool
) -> tuple[list[tuple[int, int, int]], Decoded, int]:
    """(what was written, when what was decoded, mutations)."""
    source = ShardLog("bench", folder, poll_seconds=POLL_SECONDS if polling else None)
    log = LogReader(source, decoder, lambda message: None)
    decoded: Decoded = {}
    position, count = START, 0
    ends = time.monotonic() + seconds
    command = [sys.executable, "-m", "cdc_pipeline.cli.bench_writer", *arguments]
    with tempfile.TemporaryFile("w+") as lines, subprocess.Popen(command, stdout=lines) as writer:
        with watching(source) as changes:
            while writer.poll() is None:
                if time.monotonic() > ends:
                    writer.kill()
                for batch in log.new(position):
                    position = batch.position
                    count += batch.mutations
                    name = parse_segment_name(batch.segment)
                    assert name is not None
                    places, clocks = decoded.setdefault(name.id, ([], []))
                    places.append(batch.end)
                    clocks.append(time.monotonic_ns())
                changes.wait()
        log.close()
        if writer.returncode:
            raise CdcError(f"the writing process ended with {writer.returncode}")
        lines.seek(0)
        return [tuple(map(int, line.split())) for line in lines], decoded, count  # type: ignore[misc]


def _latencies(written: list[tuple[int, int, int]], decoded: Decoded) -> list[float]:
    """Milliseconds of each index update until a batch reached its position."""
    found = []
    for segment, place, clock in written:
        places, clocks = decoded.get(segment, ([], []))
        at = bisect.bisect_left(places, place)
        if at == len(places):
            raise CdcError(f"segment {segment}, position {place}: expected to be decoded, found it was not")
        found.append((clocks[at] - clock) / 1e6)
    return found


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
