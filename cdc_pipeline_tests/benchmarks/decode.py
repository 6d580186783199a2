"""Decoding beside Cassandra's own reader: `python -m cdc_pipeline_tests.benchmarks.decode`.

Both read the same segments on one core; times are CPU seconds of the decoding thread, so that other work on the
machine counts less. Cassandra's `CommitLogReader` has a handler that does nothing, and its last passes count, when the
JVM is warm. From a cold start: wall seconds of a whole process that decodes 100 000 mutations, the best of several
that take turns. Without a JDK and Maven only our side is measured.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cdc_pipeline
from cdc_pipeline.cli.bench_decode import DecodeFigures, measure_decoding
from cdc_pipeline.decode import COMPILED
from cdc_pipeline.schema import load_schema
from cdc_pipeline_tests.benchmarks.segments import Load, first, unpacked
from cdc_pipeline_tests.live.jars import NEWEST, jars, jdks
from cdc_pipeline_tests.live.node import opened_packages
from cdc_pipeline_tests.live.oracle import classes

LOADS = {"bench-5.0": (120 * 2**20, 9), "shop-5.0": (5 * 2**20, 40)}
"""Recordings: how many bytes of entries a shipped piece is repeated to, and passes of the JVM until it is warm."""

COLD_MUTATIONS = 100_000
_COLD_RUNS = 5
_SECONDS = 600

_COLD = """
import sys
from pathlib import Path
from cdc_pipeline.decode import Decoder
from cdc_pipeline.schema import load_schema
decoder = Decoder(load_schema(Path(sys.argv[1])), lambda table: not table.keyspace.startswith("system"))
print(sum(batch.mutations for batch in decoder.read(Path(sys.argv[2]))))
"""


def main() -> None:
    """Prints the tables."""
    with_java = bool(jdks()) and shutil.which("mvn") is not None
    release = f"CommitLogReader of Cassandra {NEWEST['5.0']}" if with_java else "no JDK and Maven here"
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, CPython {platform.python_version()}, {release}")
    print(f"decoder {'compiled' if COMPILED else 'interpreted'}\n")
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        for name, (least_bytes, passes) in LOADS.items():
            load = unpacked(name, Path(folder), least_bytes)
            _compare(load, Path(folder), passes, with_java=with_java)
            if name == "bench-5.0":
                _compare_cold(load, Path(folder), with_java=with_java)


def _compare(load: Load, folder: Path, passes: int, *, with_java: bool) -> None:
    ours = [measure_decoding(load.segments(), load_schema(load.schema), 7)]
    theirs = _commit_log_reader(load, folder, passes) if with_java else None
    ours.append(measure_decoding(load.segments(), load_schema(load.schema), 7))
    best = min(ours, key=lambda figures: figures.cpu_seconds)
    print(f"{load.name}{'' if load.whole else ', a piece of it repeated'}")
    print(f"  {best.mutations:,} mutations, {best.cells:,} cells, {best.bytes / 1e6:.0f} MB")
    print(f"  ours             {_rates(best)}")
    parts = ("reading", "framing", "crc", "rows", "assembly")
    shares = ", ".join(f"{part} {getattr(best, part) / best.cpu_seconds:.0%}" for part in parts)
    print(f"                   of it {shares}; peak {best.peak_rss_mb:.0f} MB")
    if theirs is not None:
        print(f"  Cassandra's own  {best.mutations / theirs / 1e6:.3f} M mutations/s")
        print(f"  ratio            {theirs / best.cpu_seconds:.1f}")
    print()


def _rates(figures: DecodeFigures) -> str:
    seconds = figures.cpu_seconds
    mutations, cells, mb = (
        figures.mutations / seconds / 1e6,
        figures.cells / seconds / 1e6,
        figures.bytes / seconds / 1e6,
    )
    return f"{mutations:.3f} M mutations/s, {cells:.1f} M cells/s, {mb:.0f} MB/s"


def _commit_log_reader(load: Load, folder: Path, passes: int) -> float:
    """CPU seconds of a pass over the same bytes, no-op handler: the median of the last third."""
    lines = _java(folder, [f"--passes={passes}", str(load.schema), *map(str, load.segments())])
    seconds = [float(line["cpu_seconds"]) for line in lines if line["handler"] == "noop"]
    return statistics.median(seconds[-max(1, passes // 3) :])


def _compare_cold(load: Load, folder: Path, *, with_java: bool) -> None:
    segment = first(load, folder / "cold", COLD_MUTATIONS)
    command = [sys.executable, "-S", "-c", _COLD, str(load.schema), str(segment)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")  # an installed package has its byte code,
    environment["PYTHONPATH"] = str(Path(cdc_pipeline.__file__).parents[1])  # and no finder of an editable one
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    ours, theirs = [], []
    for _ in range(_COLD_RUNS):
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        ours.append(time.perf_counter() - started)
        if with_java:
            jars(NEWEST["5.0"]), classes(), opened_packages(jdks()[0].java)
            started = time.perf_counter()
            lines = _java(folder, ["--passes=1", str(load.schema), str(segment)])
            rest = sum(float(line["seconds"]) for line in lines if line["handler"] != "noop")
            theirs.append(time.perf_counter() - started - rest)
    print(f"  from a cold start to {COLD_MUTATIONS:,} mutations: ours {min(ours):.3f} s", end="")
    print(f", Cassandra's own {min(theirs):.2f} s, ratio {min(theirs) / min(ours):.1f}\n" if theirs else "\n")


def _java(folder: Path, arguments: list[str]) -> list[dict[str, Any]]:
    java = jdks()[0].java
    command = [
        str(java),
        *("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC", *opened_packages(java)),
        *(f"-Dlogback.configurationFile={Path(__file__).parents[1] / 'live' / 'java' / 'logback.xml'}",),
        *(f"-Djava.io.tmpdir={folder}", "-cp", f"{classes()}:{jars(NEWEST['5.0'])}/*", "Bench", *arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"CommitLogReader: expected figures, found: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
