"""Segments to measure on: whole recordings where they lie beside the project, else the shipped ones, repeated."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cdc_pipeline.decode import Section, SegmentFile
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.recordings import DATA, SHARED, segment_paths

_SEGMENT_BYTES = 32 * 2**20
_FIRST_ID = 1700000000001


@dataclass(frozen=True)
class Load:
    """Segments in `directory` and their schema; `whole` unless they are a shipped piece, repeated."""

    name: str
    directory: Path
    schema: Path
    whole: bool

    def segments(self) -> list[Path]:
        """By id."""
        return segment_paths(self.directory)


def unpacked(name: str, folder: Path, least_bytes: int) -> Load:
    """A recording; a shipped piece is repeated until it has `least_bytes` of entries, in segments of 32 MiB."""
    archive, whole = SHARED / f"{name}.tar.xz", True
    if not archive.is_file():
        archive, whole = DATA / f"{name}.tar.xz", False
    if not archive.is_file():
        archive = Path(str(resources.files("cdc_pipeline.cli"))) / "demo_data" / f"{name}.tar.xz"
    target = folder / name
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    raw = next(target.rglob("cdc_raw"))
    load = Load(name, raw, raw.parent / "schema.json", whole)
    if whole:
        return load
    repeated = folder / f"{name}-repeated"
    repeated.mkdir()
    _repeat(load.segments(), repeated, least_bytes)
    return Load(name, repeated, load.schema, whole)


def first(load: Load, folder: Path, mutations: int) -> Path:
    """One segment of the load's first sections, at least so many mutations."""
    sections: list[bytes] = []
    count = 0
    for section in _sections(load.segments()):
        sections.append(section)
        count += _entries(section)
        if count >= mutations:
            break
    folder.mkdir()
    return en.write(folder, en.segment(sections, segment_id=_FIRST_ID), segment_id=_FIRST_ID)


def _repeat(paths: list[Path], folder: Path, least_bytes: int) -> None:
    sections = _sections(paths)
    size = sum(map(len, sections))
    sections *= -(-least_bytes // size)
    number = 0
    while sections:
        taken, held = 0, 0
        while taken < len(sections) and held < _SEGMENT_BYTES - 2**20:
            held += len(sections[taken]) + 8
            taken += 1
        segment_id = _FIRST_ID + number
        written = en.write(folder, en.segment(sections[:taken], segment_id=segment_id), segment_id=segment_id)
        index = written.with_name(written.name.replace(".log", "_cdc.idx"))
        index.write_text(f"{written.stat().st_size}\nCOMPLETED")
        sections, number = sections[taken:], number + 1


def _sections(paths: list[Path]) -> list[bytes]:
    found = []
    for path in paths:
        with SegmentFile(path) as file:
            found += [one.data[: one.length] for one in file.sections() if isinstance(one, Section)]
    return found


def _entries(section: bytes) -> int:
    at = count = 0
    while at + 4 <= len(section) and (size := int.from_bytes(section[at : at + 4], "big")):
        at += size + 12
        count += 1
    return count
