"""Whatever a segment holds: typed errors with a place, in time, within memory, and both kernels alike."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.decode import KeyProvider, SegmentFile
from cdc_pipeline.decode.segment import Section
from cdc_pipeline.schema import Schema, Table
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.fuzz.faults import PLANS, broken
from cdc_pipeline_tests.fuzz.shapes import Draw, Writer, tables
from cdc_pipeline_tests.fuzz.twins import Twins, limited_memory
from cdc_pipeline_tests.recordings import Recording

KEY, IV = bytes(range(16)), bytes(16)
KEYS = KeyProvider(default=KEY)
EXAMPLES = int(os.environ.get("CDC_FUZZ_EXAMPLES") or 60)
RECORDINGS = ("types-5.0-v8", "tombstones-5.0", "schema-changes-5.0", "shop-3.11", "random-5.0-s1")
SEGMENT_ID = 1700000000001

BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    **{name: {"parameters": {"compressionClass": name}, "body": en.compressed(name)} for name in en.COMPRESSORS},
    "encrypted": {"parameters": en.encryption_parameters(IV), "body": en.encrypted(KEY, IV, 64)},
}


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """No more memory than the inputs ask for."""
    with limited_memory():
        yield


def check(data: bytes, of: Sequence[Table], *, version: int = 7, draw: Draw = None) -> None:
    """Both kernels on these bytes, in batches of some size and from some place on."""
    limits = {} if draw is None else draw(st.sampled_from([{}, {"max_rows": 1}, {"max_bytes": 64}]))
    after = 0 if draw is None else draw(st.sampled_from([0, 0, 0, 28, len(data) // 2, 2**63 - 1]))
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as folder:
        path = en.write(Path(folder), data, version=version, segment_id=SEGMENT_ID)
        Twins(Schema(of), KEYS, **limits).check(path, after)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_fields(data: st.DataObject) -> None:
    """Single fields of headers, markers, entries, mutations, rows and cells are broken, the CRCs around them right."""
    of = {table.id: table for table in data.draw(st.lists(tables(), min_size=1, max_size=2))}
    writer = Writer(data.draw, list(of.values()))
    version = data.draw(st.sampled_from([6, 7, 7, 8]))
    how = BODIES[data.draw(st.sampled_from([*["plain"] * 5, *BODIES]))]
    with broken(data.draw(PLANS)):
        sections = [
            b"".join(en.entry(writer.mutation()) for _ in range(data.draw(st.integers(0, 2))))
            for _ in range(data.draw(st.integers(1, 2)))
        ]
        whole = en.segment(sections, version=version, segment_id=SEGMENT_ID, **how)
    check(whole, list(of.values()), version=version, draw=data.draw)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_bytes_of_mutations(data: st.DataObject) -> None:
    """Bytes of mutations are changed, cut out, doubled or swapped, the CRCs made right again."""
    of = {table.id: table for table in data.draw(st.lists(tables(), min_size=1, max_size=2))}
    writer = Writer(data.draw, list(of.values()))
    entries = b"".join(en.entry(damaged(data.draw, writer.mutation())) for _ in range(data.draw(st.integers(1, 3))))
    check(en.segment([entries], segment_id=SEGMENT_ID), list(of.values()), draw=data.draw)


def damaged(draw: Draw, mutation: bytes, other: bytes = b"") -> bytes:
    """A mutation with some bytes changed, of at least the 10 that an entry has."""
    out = bytearray(mutation)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(out)))
        end = min(len(out), at + draw(st.sampled_from([0, 1, 1, 2, 9, 40])))
        match draw(st.sampled_from(["replace", "flip", "double", "splice"])):
            case "flip" if at < len(out):
                out[at] ^= draw(st.integers(1, 255))
            case "double":
                out[at:at] = out[at:end]
            case "splice" if other:
                out[at:] = other[draw(st.integers(0, len(other))) :]
            case _:
                out[at:end] = draw(st.binary(max_size=3) | st.sampled_from([b"\xff" * 9, b"\x80", b"\xf0", bytes(9)]))
    return bytes(out) + bytes(max(0, 10 - len(out)))


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_bytes_of_segments(data: st.DataObject) -> None:
    """Bytes of whole segments are changed, the CRCs left wrong."""
    table = data.draw(tables())
    writer = Writer(data.draw, [table])
    sections = [en.entry(writer.mutation()), b"", en.entry(writer.mutation())]
    kind = data.draw(st.sampled_from(sorted(BODIES)))
    whole = bytearray(en.segment(sections, segment_id=SEGMENT_ID, **BODIES[kind]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    check(bytes(whole[: data.draw(st.integers(0, len(whole)))]), [table])


class Real(NamedTuple):
    """A recording: both kernels, the schema, even samples of its mutations and of those that change the schema."""

    twins: Twins
    schema: Schema
    mutations: list[bytes]
    changing: list[bytes]
    version: int


@pytest.fixture(scope="module", params=RECORDINGS)
def real(request: pytest.FixtureRequest, open_recording: Callable[[str], Recording]) -> Real:
    """What Cassandra wrote."""
    recording = open_recording(request.param)
    mutations: list[bytes] = []
    version = 7
    for path in recording.main.segments():
        with SegmentFile(path) as file:
            version = file.header.version
            for section in file.sections():
                if isinstance(section, Section):
                    mutations += entries_of(section.data[: section.length])
    own = {table.id.bytes for table in recording.schema if table.keyspace.startswith("system")}
    others = {table.id.bytes for table in recording.schema} - own
    changed = {t.id.bytes for t in recording.schema if t.keyspace == "system_schema" or t.full_name == "system.local"}
    return Real(
        Twins(recording.schema), recording.schema, sample(mutations, others), sample(mutations, changed), version
    )


def sample(mutations: Sequence[bytes], tables: set[bytes]) -> list[bytes]:
    """An even sample of the mutations of these tables."""
    chosen = [one for one in mutations if one[1:17] in tables]
    return chosen[:: max(1, len(chosen) // 400)]


def check_changed(draw: Draw, mutations: Sequence[bytes], version: int, twins: Twins) -> None:
    """Both kernels on some of these mutations, changed, spliced and put on other tables."""
    entries = []
    for _ in range(draw(st.integers(1, 3))):
        mutation, other = (draw(st.sampled_from(mutations)) for _ in range(2))
        if draw(st.integers(0, 5)) == 0:
            mutation = mutation[:1] + other[1:17] + mutation[17:]
        entries.append(en.entry(damaged(draw, mutation, other)))
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as folder:
        whole = en.segment([b"".join(entries)], version=version, segment_id=SEGMENT_ID)
        twins.check(en.write(Path(folder), whole, version=version, segment_id=SEGMENT_ID))


@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_real_mutations(real: Real, data: st.DataObject) -> None:
    """Mutations that Cassandra wrote, the CRCs made right again."""
    check_changed(data.draw, real.mutations, real.version, real.twins)


@pytest.mark.parametrize("real", ["schema-changes-5.0"], indirect=True)
@settings(max_examples=EXAMPLES // 3)
@given(data=st.data())
def test_schema_mutations(real: Real, data: st.DataObject) -> None:
    """Those that change the schema too, which the decoder follows; each time anew, for it holds what it learned."""
    mutations = [*real.changing, *real.mutations[:50]]
    check_changed(data.draw, mutations, real.version, Twins(real.schema, follow=True))


def entries_of(section: bytes) -> Iterator[bytes]:
    """The mutations of a section."""
    at = 0
    while at + 4 <= len(section) and (size := int.from_bytes(section[at : at + 4], "big")):
        yield section[at + 8 : at + 8 + size]
        at += size + 12
