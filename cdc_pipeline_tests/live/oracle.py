"""What Cassandra's own `CommitLogReader` makes of segments, by a small Java program (`java/`)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from cdc_pipeline.change import Position
from cdc_pipeline_tests.live.jars import NEWEST, cache, jars, jdks
from cdc_pipeline_tests.live.node import opened_packages

_SOURCES = Path(__file__).with_name("java")
_SERIES = "5.0"
_SECONDS = 300
_FIRST_WITH_SHORT_FLOATS = 19
_NUMBER = re.compile(rb"(-?\d+\.\d+(?:E-?\d+)?)")


@functools.cache
def classes() -> Path:
    """The compiled program; the folder's name is a hash of its sources and of the jars."""
    sources = sorted(_SOURCES.glob("*.java"))
    known = hashlib.sha256(b"".join(source.read_bytes() for source in sources) + NEWEST[_SERIES].encode()).hexdigest()
    folder = cache() / f"oracle-{known[:16]}"
    if not folder.is_dir():
        part = cache() / f"oracle-{known[:16]}.{os.getpid()}"
        options = ["--release", "11", "-nowarn", "-proc:none", "-d", str(part), "-cp", f"{jars(NEWEST[_SERIES])}/*"]
        command = [str(jdks()[0].javac), *options, *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"javac: expected classes, found: {done.stderr[-2000:]}")
        try:
            part.rename(folder)
        except OSError:  # another process was first
            assert folder.is_dir()
    return folder


def dump(schema: Path, segments: Sequence[Path], folder: Path, history: Path | None = None) -> list[bytes]:
    """The lines of Cassandra's reader; `folder` is for what it writes, each call its own."""
    folder.mkdir()
    out = folder / "oracle.jsonl"
    options = [f"--history={history}"] if history is not None else []
    command = [
        str(jdks()[-1].java),
        *("-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *opened_packages(jdks()[-1].java),
        *(f"-Dlogback.configurationFile={_SOURCES / 'logback.xml'}", f"-Djava.io.tmpdir={folder}"),
        *("-cp", f"{classes()}:{jars(NEWEST[_SERIES])}/*", "Oracle"),
        *(*options, str(schema), str(out), *map(str, segments)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode not in (0, 3):  # 3: some mutations were of another time's schema
        raise RuntimeError(f"CommitLogReader: expected a dump, found: {done.stderr[-2000:]}")
    return out.read_bytes().split(b"\n")[:-1]


def place(line: bytes) -> Position:
    """Where a line of a dump stands."""
    said = json.loads(line)
    return Position(said["segment"], said["position"])


def between(lines: Sequence[bytes], after: Position, until: Position) -> list[bytes]:
    """The lines behind a position up to another."""
    return [line for line in lines if after < place(line) <= until]


def differences(ours: Sequence[bytes], cassandras: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of lines that differ; a line too few on either side is empty."""
    exact = jdks()[-1].release >= _FIRST_WITH_SHORT_FLOATS
    for at in range(max(len(ours), len(cassandras))):
        left = ours[at] if at < len(ours) else b""
        right = cassandras[at] if at < len(cassandras) else b""
        if left != right and (exact or not _same_but_for_digits(left, right)):
            yield left, right


def _same_but_for_digits(left: bytes, right: bytes) -> bool:
    """Whether two lines differ only in digits that Java before 19 prints of a float without need; `hex` is exact."""
    lefts, rights = _NUMBER.split(left), _NUMBER.split(right)
    return len(lefts) == len(rights) and all(
        one == other or (at % 2 == 1 and _same_number(float(one), float(other)))
        for at, (one, other) in enumerate(zip(lefts, rights, strict=True))
    )


def _same_number(left: float, right: float) -> bool:
    return left == right or struct.pack(">f", left) == struct.pack(">f", right)
