"""`bench live`: how long after its index update a change is decoded, or to be seen, beside a process that writes."""

from __future__ import annotations

import bisect
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Self

import typer

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.capture.watch import POLL_SECONDS
from cdc_pipeline.change import START, Position, parse_segment_name
from cdc_pipeline.cli.app import JsonOption, output
from cdc_pipeline.cli.bench import Directory, SchemaFile, bench_app, beside, recording, show
from cdc_pipeline.cli.limits_clickhouse import parts
from cdc_pipeline.cli.loading import settings
from cdc_pipeline.decode import Decoder
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.following import LogReader
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.schema import SYSTEM_KEYSPACES, load_schema

Reached = dict[int, tuple[list[int], list[int]]]
"""By segment id: positions reached, and the clock at each (monotonic, ns)."""


@bench_app.command("live")
def bench_live(
    directory: Directory = None,
    schema: SchemaFile = None,
    rate: Annotated[float, typer.Option(help="Index updates a second.", min=1)] = 100.0,
    seconds: Annotated[float, typer.Option(help="How long is written.", min=1)] = 10.0,
    mutations: Annotated[int, typer.Option(help="Mutations between two index updates.", min=1)] = 20,
    polling: Annotated[bool, typer.Option("--polling", help="Without the kernel's notifications.")] = False,
    into: Annotated[str | None, typer.Option(help="postgres or clickhouse: until it is committed there.")] = None,
    pace: Annotated[int, typer.Option(help="Least ms between two commits into ClickHouse.", min=0)] = 500,
    as_json: JsonOption = False,
) -> int:
    """Follows a segment while another process writes real mutations; latency from the index update to decoded columns.

    With `--into` to the answer to the commit, when everyone sees the change, in a new embedded server. Into ClickHouse
    at `--pace` ms, with the parts that its tables come to have.

    Example: `cdc-pipeline bench live data/cdc_raw --rate 100`
    """
    if into not in (None, "postgres", "clickhouse"):
        raise ConfigurationError(f"expected destination postgres or clickhouse, found {into}")
    directory = directory or recording()
    segment = max(segment_files([directory]), key=lambda path: path.stat().st_blocks)
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as root:
        folder = Path(root, "live")
        folder.mkdir()
        source = ShardLog("live", folder, poll_seconds=POLL_SECONDS if polling else None)
        arguments = [str(segment), str(folder), str(rate), str(seconds), str(mutations)]
        schema = schema or beside(directory)
        with (
            _Decoding(source, schema) if into is None else _Loading(source, schema, Path(root), into, pace) as following
        ):
            cpu = time.process_time()
            written = _run(arguments, source, following, seconds + 30)
            cpu = time.process_time() - cpu
            reached, count, others = following.reached, following.mutations, following.others()
    latencies = sorted(_latencies(written, reached))
    show(
        output(as_json),
        {
            "benchmark": "live" if into is None else f"live into {into}",
            "index_updates": len(written),
            "mutations": count,
            "notified": not polling,
            "p50_ms": _quantile(latencies, 0.5),
            "p99_ms": _quantile(latencies, 0.99),
            "max_ms": latencies[-1],
            "cpu_share": cpu / seconds,
            **others,
        },
    )
    return 0


_PARTS_SECONDS = 5.0
"""Between two looks at how many parts there are."""


class _Follower(ABC):
    """Notes when what was written had been reached."""

    def __init__(self) -> None:
        self.reached: Reached = {}
        self.mutations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def step(self) -> None:
        """Takes what is durable now."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything."""

    def others(self) -> dict[str, float]:
        """Further figures of its own."""
        return {}

    def note(self, position: Position) -> None:
        """All up to here is there."""
        name = parse_segment_name(position.segment)
        assert name is not None
        places, clocks = self.reached.setdefault(name.id, ([], []))
        places.append(position.offset)
        clocks.append(time.monotonic_ns())


class _Decoding(_Follower):
    def __init__(self, source: ShardLog, schema: Path) -> None:
        super().__init__()
        decoder = Decoder(load_schema(schema), lambda table: table.keyspace not in SYSTEM_KEYSPACES)
        self._log = LogReader(source, decoder, lambda message: None)
        self._position = START

    def step(self) -> None:
        for batch in self._log.new(self._position):
            self._position = batch.position
            self.mutations += batch.mutations
            self.note(batch.position)

    def close(self) -> None:
        self._log.close()


class _Loading(_Follower):
    def __init__(self, source: ShardLog, schema: Path, folder: Path, kind: str, pace: int) -> None:
        super().__init__()
        lane = Lane("live", source.name)
        self._project = Project(settings(source.directory, schema, folder, [], [lane], kind))
        self._runner = self._project.lane(lane)
        if kind == "clickhouse":
            self._runner.pace.seconds = pace / 1000
        self._kind, self._looked, self._parts = kind, time.monotonic(), 0
        self._runner.log.source = source
        self._runner.on_commit = self._committed
        self._runner.open("bench")

    def step(self) -> None:
        self._runner.drain()
        if self._kind == "clickhouse" and time.monotonic() > self._looked + _PARTS_SECONDS:
            self._looked = time.monotonic()
            self._parts = max(self._parts, parts(self._project, self._runner.lane.destination))

    def others(self) -> dict[str, float]:
        """Of a ClickHouse: commits, and the most parts that a table had at any look."""
        if self._kind != "clickhouse":
            return {}
        last = parts(self._project, self._runner.lane.destination)
        return {
            "commits": self._runner.result.micro_batches,
            "most_parts": max(self._parts, last),
            "parts_at_end": last,
        }

    def close(self) -> None:
        self._project.close()

    def _committed(self, runner: LaneRunner) -> None:
        self.mutations = runner.result.mutations
        self.note(runner.held.position)


def _run(arguments: list[str], source: ShardLog, follower: _Follower, seconds: float) -> list[tuple[int, int, int]]:
    """What was written while the follower followed."""
    ends = time.monotonic() + seconds
    command = [sys.executable, "-m", "cdc_pipeline.cli.bench_writer", *arguments]
    with tempfile.TemporaryFile("w+") as lines, subprocess.Popen(command, stdout=lines) as writer:
        with watching(source) as changes:
            while writer.poll() is None:
                if time.monotonic() > ends:
                    writer.kill()
                follower.step()
                changes.wait()
        follower.step()
        if writer.returncode:
            raise CdcError(f"the writing process ended with {writer.returncode}")
        lines.seek(0)
        return [tuple(map(int, line.split())) for line in lines]  # type: ignore[misc]


def _latencies(written: list[tuple[int, int, int]], reached: Reached) -> list[float]:
    """Milliseconds of each index update until its position was reached."""
    found = []
    for segment, place, clock in written:
        places, clocks = reached.get(segment, ([], []))
        at = bisect.bisect_left(places, place)
        if at == len(places):
            raise CdcError(f"segment {segment}, position {place}: expected to be reached, found it was not")
        found.append((clocks[at] - clock) / 1e6)
    return found


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
