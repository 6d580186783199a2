"""Recordings of real Cassandra nodes: what they hold, and where they are.

Each is a `.tar.xz`: the trimmed selection in `data/`, or all of them in `../shared/fixtures` where that folder lies
beside the project. Tests are parametrized over `NAMES`, so that a folder more means tests more, and none is skipped:

    @pytest.fixture(scope="session")
    def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
        return opener(tmp_path_factory)

    @pytest.mark.parametrize("name", NAMES)
    def test_something(open_recording: Callable[[str], Recording], name: str) -> None:
        recording = open_recording(name)
"""

from __future__ import annotations

import fcntl
import functools
import gzip
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.change import parse_segment_name
from cdc_pipeline.decode import KeyProvider
from cdc_pipeline.schema import Schema, load_schema

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared" / "fixtures"
_SUFFIX = ".tar.xz"
_WITHOUT_A_DUMP = frozenset({"bench-5.0"})
_USED = ("cdc_raw", "steps", "before_restart", "after_restart", "nodes", "expected", "schema_history")


def _archives() -> dict[str, Path]:
    found = {}
    for folder in (DATA, SHARED):
        for archive in sorted(folder.glob(f"*{_SUFFIX}")):
            found[archive.name.removesuffix(_SUFFIX)] = archive
    return {name: found[name] for name in sorted(found) if name not in _WITHOUT_A_DUMP}


ARCHIVES = _archives()
"""Archives by name; the whole recording is preferred to the trimmed one."""

NAMES = tuple(ARCHIVES)
"""Every recording at hand that has a dump by Cassandra's own reader."""


def segment_paths(folder: Path) -> list[Path]:
    """The segments of a folder by id."""
    named = ((parse_segment_name(path.name), path) for path in folder.glob("*.log"))
    return [path for name, path in sorted((name.id, path) for name, path in named if name is not None)]


@dataclass(frozen=True, slots=True)
class SegmentsDir:
    """A folder with segments, and the dump of it: `label` as `cdc_raw`, `steps/07`, `nodes/2`."""

    label: str
    path: Path
    oracle: Path

    def segments(self) -> list[Path]:
        """Its segments by id."""
        return segment_paths(self.path)

    def oracle_lines(self) -> list[bytes]:
        """The dump by Cassandra's own reader, without line ends."""
        return read_lines(self.oracle)


@dataclass(frozen=True)
class Recording:
    """An unpacked recording."""

    name: str
    path: Path

    def segments_dirs(self) -> list[SegmentsDir]:
        """`cdc_raw`, then each step, node and crash state: every folder of segments that has a dump."""
        found = []
        for oracle in sorted(self.path.rglob("oracle.jsonl*")):
            folder = oracle.parent
            label = "cdc_raw" if folder == self.path else folder.relative_to(self.path).as_posix()
            raw = folder / "cdc_raw"
            found.append(SegmentsDir(label, raw if raw.is_dir() else folder, oracle))
        return sorted(found, key=lambda one: (one.label != "cdc_raw", one.label))

    @property
    def main(self) -> SegmentsDir:
        """`cdc_raw`; in a cluster that of the first node."""
        return self.segments_dirs()[0]

    @functools.cached_property
    def meta(self) -> dict[str, Any]:
        """How it was made."""
        return dict(json.loads((self.path / "meta.json").read_bytes()))

    @functools.cached_property
    def schema(self) -> Schema:
        """The newest schema snapshot alone."""
        return load_schema(self.path / "schema.json")

    @functools.cached_property
    def history(self) -> Schema | None:
        """The newest snapshot with the earlier ones; None when none were taken."""
        folder = self.path / "schema_history"
        return load_schema(self.path / "schema.json", folder) if folder.is_dir() else None

    def history_lines(self) -> list[bytes]:
        """The dump that goes with `history`."""
        return read_lines(next(self.path.glob("oracle-history.jsonl*")))

    @functools.cached_property
    def keystore(self) -> dict[str, str] | None:
        """The lines of `keystore.txt` (store type, store password, key alias, key password, AES key (hex))."""
        path = self.path / "keystore.txt"
        if not path.is_file():
            return None
        return dict(line.split(": ", 1) for line in path.read_text().splitlines())

    def keys(self) -> KeyProvider | None:
        """The key of an encrypted recording by its hex digits; None when it is not encrypted."""
        return KeyProvider(default=bytes.fromhex(self.keystore["AES key (hex)"])) if self.keystore else None

    def expected(self) -> dict[str, list[dict[str, Any]]]:
        """The truth: rows of each table by `keyspace.table`, every column as its serialized bytes in hex."""
        files = sorted((self.path / "expected").glob("*.raw.jsonl"))
        return {path.name.removesuffix(".raw.jsonl"): [json.loads(line) for line in read_lines(path)] for path in files}


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file, zipped or not, without line ends."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.split(b"\n")[:-1]


def opener(factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that unpacks a recording once for all workers of this session, and opens it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "recordings"

    @functools.cache
    def open_recording(name: str) -> Recording:
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / name).is_dir():
                unpack(name, folder / f"{name}.part")
                (folder / f"{name}.part" / name).rename(folder / name)
        return Recording(name, folder / name)

    return open_recording


def unpack(name: str, into: Path) -> None:
    """Unpacks what tests use of a recording; the folder `name` appears in `into`."""
    with tarfile.open(ARCHIVES[name]) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.isfile() and (len(parts) == 2 or parts[1] in _USED) and _is_used(parts[-1]):
                archive.extract(member, into, filter="data")


def _is_used(file: str) -> bool:
    return file.endswith((".log", ".idx", ".raw.jsonl", ".json", ".jceks", "keystore.txt")) or file.startswith("oracle")
