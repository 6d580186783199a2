"""A fuzzer led by what it reaches: atheris over the interpreted kernel, its twin beside it for every input.

    python -m cdc_pipeline_tests.fuzz.coverage FOLDER SECONDS

FOLDER keeps the inputs that reached something new, and what was found as `found-…`; `replay` runs such a file again.
An input's first byte says what the rest is: a mutation, the entries of a section, a section's body under one of the
compressors, or all that follows a header. Everything around it is written as it should be.
"""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from cdc_pipeline.decode import (
    KeyProvider,
    SegmentFile,
    arrow,
    compression,
    encryption,
    reader,
    section_cy,
    segment,
)
from cdc_pipeline.decode.segment import Section
from cdc_pipeline.schema import Schema, Table, load_schema
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import make_table
from cdc_pipeline_tests.fuzz.twins import Outcome, Twins, interpreted_kernel
from cdc_pipeline_tests.recordings import segment_paths, unpack

RECORDINGS = ("types-5.0-v8", "tombstones-5.0", "random-5.0-s1", "random-5.0v8-s4")
KEY, IV = bytes(range(16)), bytes(16)
SEGMENT_ID = 1700000000001

_COMPRESSORS = sorted(en.COMPRESSORS)
_MUTATION, _SECTION, _REST, _ENCRYPTED, _COMPRESSED = range(5)
_SHAPES = _COMPRESSED + len(_COMPRESSORS)
_LONGEST = 4096
_SEEDS = 300


def segment_of(data: bytes) -> tuple[bytes, int]:
    """The segment of an input, and its version."""
    shape = data[0] % _SHAPES if data else _REST
    version = 6 + (data[0] // _SHAPES % 3 if data else 0)
    rest = data[1:]
    if shape == _MUTATION:
        return en.segment([en.entry(rest + bytes(max(0, 10 - len(rest))))], version=version), version
    if shape == _SECTION:
        return en.segment([rest], version=version), version
    if shape == _REST:
        return en.header(version, SEGMENT_ID) + rest, version
    if shape == _ENCRYPTED:
        return en.segment([rest], version=version, parameters=en.encryption_parameters(IV)), version
    named = {"compressionClass": _COMPRESSORS[shape - _COMPRESSED]}
    return en.segment([rest], version=version, parameters=named), version


def schema() -> tuple[Schema, list[bytes]]:
    """The tables of some recordings and of all shapes, and mutations that Cassandra wrote to them."""
    found: dict[object, Table] = {}
    mutations: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as unpacked:
        for name in RECORDINGS:
            unpack(name, Path(unpacked))
            tables = load_schema(Path(unpacked) / name / "schema.json")
            found |= {table.id: table for table in tables if not table.keyspace.startswith("system")}
            mutations += _mutations(Path(unpacked) / name / "cdc_raw", {one.id.bytes for one in found.values()})
    wide = make_table("wide", regular=[(f"c{at:03}", "int") for at in range(70)])
    return Schema([*found.values(), wide]), mutations


def _mutations(folder: Path, known: set[bytes]) -> Iterator[bytes]:
    every: list[bytes] = []
    for path in segment_paths(folder):
        with SegmentFile(path) as file:
            for section in file.sections():
                if isinstance(section, Section):
                    every += entries_of(section.data[: section.length])
    fitting = [one for one in every if one[1:17] in known and len(one) < _LONGEST]
    yield from fitting[:: max(1, len(fitting) // _SEEDS)]


def entries_of(section: bytes) -> Iterator[bytes]:
    """The mutations of a section."""
    at = 0
    while at + 4 <= len(section) and (size := int.from_bytes(section[at : at + 4], "big")):
        yield section[at + 8 : at + 8 + size]
        at += size + 12


class Target:
    """What is run for each input."""

    def __init__(self, folder: Path, compiled: ModuleType = section_cy) -> None:
        tables, self._mutations = schema()
        self._twins = Twins(tables, KeyProvider(default=KEY), compiled)
        self._folder = folder

    def seeds(self) -> Iterator[bytes]:
        """Inputs of every shape: what Cassandra wrote, and one section in each form of a body."""
        for mutation in self._mutations:
            yield bytes([_MUTATION]) + mutation
            yield bytes([_SECTION]) + en.entry(mutation)
        entry = en.entry(self._mutations[0])
        for at, name in enumerate(_COMPRESSORS):
            yield bytes([_COMPRESSED + at]) + en.compressed(name)(entry)
        yield bytes([_ENCRYPTED]) + en.encrypted(KEY, IV)(entry)

    def __call__(self, data: bytes) -> Outcome:
        """Both kernels on an input."""
        whole, version = segment_of(data)
        return self._twins.check(en.write(self._folder, whole, version=version), 0)


def replay(path: Path) -> Outcome:
    """What a kept input gives; raises as the fuzzer saw it."""
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as folder:
        return Target(Path(folder))(path.read_bytes())


def _instrument() -> None:
    """Makes atheris see which branches of the decoder are taken."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    for module in (interpreted_kernel(), segment, reader, compression, encryption, arrow):
        for holder in (module, *(one for one in vars(module).values() if isinstance(one, type))):
            for one in list(vars(holder).values()):
                if isinstance(one, types.FunctionType) and one.__module__ == module.__name__:
                    atheris.instrument_func(one)


def main() -> None:
    """Fuzzes for some seconds; libFuzzer ends the process, with 0 when nothing was found."""
    import atheris

    folder, seconds = Path(sys.argv[1]), int(sys.argv[2])
    corpus, scratch = folder / "corpus", folder / "scratch"
    for made in (corpus, scratch):
        made.mkdir(parents=True, exist_ok=True)
    _instrument()
    target = Target(scratch)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:04}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    options += [f"-artifact_prefix={folder}/found-", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], lambda data: target(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
