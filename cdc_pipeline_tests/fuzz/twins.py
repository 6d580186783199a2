"""Both kernels on one file: what has to hold, whatever its bytes are."""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdc_pipeline.change import Damage
from cdc_pipeline.decode import DecodedBatch, Decoder, KeyProvider, reader, section_cy
from cdc_pipeline.errors import SegmentError
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.decode.tables import every_table

SECONDS = 10.0
"""Longer than this is a hang: the inputs are small."""

HEADROOM = 768 * 2**20
"""Bytes of address space that decoding may take on top of what the process has: a length says 2 GB soon enough."""

Outcome = tuple[Any, ...]


@functools.cache
def interpreted_kernel() -> ModuleType:
    """The kernel's source, run by Python."""
    path = Path(section_cy.__file__).with_name("section_cy.py")
    loader = importlib.machinery.SourceFileLoader("section_interpreted", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert not module.COMPILED
    return module


def decoder_on(kernel: ModuleType, schema: Schema, keys: KeyProvider | None, **how: Any) -> Decoder:
    """A decoder on one of the kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "Kernel", kernel.Kernel)
        patch.setattr(reader, "TableColumns", kernel.TableColumns)
        return Decoder(schema, every_table, keys=keys, **how)


class Twins:
    """Decoders of one schema on either kernel."""

    def __init__(
        self, schema: Schema, keys: KeyProvider | None = None, compiled: ModuleType = section_cy, **how: Any
    ) -> None:
        self.compiled = decoder_on(compiled, schema, keys, **how)
        self.interpreted = decoder_on(interpreted_kernel(), schema, keys, **how)

    def check(self, path: Path, after: int = 0, until: int | None = None) -> Outcome:
        """The outcome of both, which is one; only typed errors, in time, each at a place of the file."""
        started = time.monotonic()
        compiled = outcome(self.compiled, path, after, until)
        interpreted = outcome(self.interpreted, path, after, until)
        assert compiled == interpreted
        assert time.monotonic() - started < SECONDS
        return compiled


def outcome(decoder: Decoder, path: Path, after: int = 0, until: int | None = None) -> Outcome:
    """Everything that a segment gives, as plain objects: batches with their damage, or the error of the header."""
    given: list[Outcome] = []
    updates: dict[int, int] = {}
    try:
        for batch in decoder.read(path, after, until):
            assert batch.segment == path.name
            assert batch.start <= batch.end
            given.append(_batch(batch, path, updates))
    except SegmentError as error:
        return ("refused", *_error(error, path))
    return ("read", given)


def _batch(batch: DecodedBatch, path: Path, updates: dict[int, int]) -> Outcome:
    tables = {}
    for change in batch.tables:
        rows: Mapping[str, Sequence[Any]] = change.rows.to_pydict()
        assert all(batch.start < position <= batch.end for position in rows["position"])
        assert len(change.cells) == (rows["cell_end"][-1] if len(change.rows) else 0)
        order = [updates.setdefault(number, len(updates)) for number in rows["update"]]
        tables[change.table.id] = ({**rows, "update": order}, change.cells.to_pydict(), change.ranges)
    damage = [_damage(one, path) for one in batch.damage]
    return batch.start, batch.end, batch.mutations, batch.last, tables, damage, batch.events


def _damage(one: Damage, path: Path) -> Outcome:
    assert one.kind in ("entry", "section", "table", "column", "schema")
    return one.kind, one.size, one.table_id, one.column, *_error(one.error, path)


def _error(error: SegmentError, path: Path) -> Outcome:
    assert error.segment == path.name
    assert error.offset >= 0
    assert error.what
    assert str(error).startswith(f"segment {path.name}, offset {error.offset}: ")
    return type(error).__name__, error.offset, str(error)


@contextlib.contextmanager
def limited_memory(headroom: int = HEADROOM) -> Iterator[None]:
    """Lets this process take so many bytes more and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + headroom, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
