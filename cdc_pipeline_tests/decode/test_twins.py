"""The compiled kernel and the interpreted one are the same function of the bytes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.decode import COMPILED, Decoder, reader, section_cy
from cdc_pipeline.decode.arrow import take_batch
from cdc_pipeline.decode.section_cy import FULL, SLACK
from cdc_pipeline.decode.segment import Section, SegmentFile
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import every_table
from cdc_pipeline_tests.recordings import Recording

EVERYTHING = 2**62


class Twins(NamedTuple):
    """Decoders of one recording on either kernel, and its entries."""

    compiled: Decoder
    interpreted: Decoder
    sections: list[bytes]
    mutations: list[bytes]


def test_compiled_is_compiled(interpreted: ModuleType) -> None:
    """The package's kernel is machine code, and its twin is not."""
    assert COMPILED is section_cy.COMPILED is True
    assert not section_cy.__file__.endswith(".py")
    assert interpreted.COMPILED is False


def test_fixture_changes_the_kernel(kernel: ModuleType) -> None:
    """A decoder made under the fixture runs on that kernel."""
    decoder = Decoder(Schema([]), every_table)
    assert type(decoder._kernel) is kernel.Kernel


def decoder_on(module: ModuleType, schema: Schema) -> Decoder:
    """A decoder on one of the twins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "Kernel", module.Kernel)
        patch.setattr(reader, "TableColumns", module.TableColumns)
        return Decoder(schema, every_table)


def entries_of(section: bytes) -> Iterator[bytes]:
    """The mutations of a section."""
    at = 0
    while at + 4 <= len(section) and (size := int.from_bytes(section[at : at + 4], "big")):
        yield section[at + 8 : at + 8 + size]
        at += size + 12


@pytest.fixture(scope="module", params=["tombstones-5.0", "types-5.0-v8", "schema-changes-5.0", "shop-3.11"])
def twins(request: pytest.FixtureRequest, open_recording: Callable[[str], Recording], interpreted: ModuleType) -> Twins:
    """Both kernels on one recording; of its sections and mutations an even sample."""
    recording = open_recording(request.param)
    sections: list[bytes] = []
    for path in recording.main.segments():
        with SegmentFile(path) as file:
            sections += [section.data[: section.length] for section in file.sections() if isinstance(section, Section)]
    known = {table.id.bytes for table in recording.schema if not table.keyspace.startswith("system")}
    mutations = [mutation for section in sections for mutation in entries_of(section) if mutation[1:17] in known]
    return Twins(
        decoder_on(section_cy, recording.schema),
        decoder_on(interpreted, recording.schema),
        sections[:: max(1, len(sections) // 40)],
        mutations[:: max(1, len(mutations) // 300)],
    )


def taken(decoder: Decoder) -> dict[uuid.UUID, Any]:
    """The changes that wait in the decoder's buffers, by table, as lists; the buffers are empty then."""
    tables = {}
    for columns in decoder._kernel.waiting():
        table = decoder.schema.tables[uuid.UUID(bytes=columns.table_id)]
        batch = take_batch(table, "", columns, dt.datetime.now(dt.UTC))
        rows, cells = batch.rows.to_pydict(), batch.cells.to_pydict()
        rows["update"] = [number - rows["update"][0] for number in rows["update"]]
        tables[table.id] = rows, cells, batch.ranges
    return tables


def outcome(decoder: Decoder, section: bytes, *, after: int = 0, unsigned: bool = False, rows: int = EVERYTHING) -> Any:
    """Everything that the kernel makes of a section, its buffers emptied."""
    kernel = decoder._kernel
    read, at, state = [], 0, FULL
    while state == FULL:
        at, state = kernel.read(section + bytes(SLACK), len(section), at, 1000, after, unsigned, rows, EVERYTHING)
        read.append((at, state, taken(decoder)))
    return read, kernel.take_failures()


def same(twins: Twins, section: bytes, **how: Any) -> Any:
    """The outcome of both, which is one."""
    compiled, interpreted = (outcome(decoder, section, **how) for decoder in (twins.compiled, twins.interpreted))
    assert compiled == interpreted
    return compiled


def test_real_sections(twins: Twins) -> None:
    """Both make the same columns of real sections, whatever the batch, the place to begin and the version."""
    seen = 0
    for index, section in enumerate(twins.sections):
        ((_, _, tables),), failures = same(twins, section)
        seen += len(tables)
        assert all(failure[0] == "table" for failure in failures)
        same(twins, section, rows=1 + index % 7, after=1000 + len(section) // 2, unsigned=True)
    assert seen


@settings(max_examples=120)
@given(data=st.data())
def test_changed_mutations(twins: Twins, data: st.DataObject) -> None:
    """Both say the same about mutations with bytes changed, cut out or put in, the CRCs made right again."""
    entries = []
    for _ in range(data.draw(st.integers(1, 3))):
        mutation = bytearray(data.draw(st.sampled_from(twins.mutations)))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(mutation)))
            stop = min(len(mutation), at + data.draw(st.sampled_from([0, 1, 1, 1, 2, 9])))
            mutation[at:stop] = data.draw(st.binary(max_size=3) | st.sampled_from([b"\xff" * 9, b"\x80", b"\xf0"]))
        entries.append(en.entry(bytes(mutation) + bytes(max(0, 10 - len(mutation)))))
    same(twins, b"".join(entries), unsigned=data.draw(st.booleans()), rows=data.draw(st.sampled_from([1, EVERYTHING])))


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_sections(twins: Twins, data: st.DataObject) -> None:
    """Both say the same about sections whose framing is damaged, the CRCs left wrong."""
    mutations = data.draw(st.lists(st.sampled_from(twins.mutations), max_size=3))
    section = bytearray(b"".join(map(en.entry, mutations)) + data.draw(st.binary(max_size=12)))
    for _ in range(data.draw(st.integers(0, 2)) if section else 0):
        section[data.draw(st.integers(0, len(section) - 1))] ^= data.draw(st.integers(1, 255))
    same(twins, bytes(section[: data.draw(st.integers(0, len(section)))]))


def test_cut_mutations(twins: Twins) -> None:
    """Both say the same about real mutations that end at any byte: nothing is delivered of one that is not whole."""
    for mutation in twins.mutations[::30]:
        for size in range(10, len(mutation), max(1, len(mutation) // 60)):
            ((_, _, tables),), failures = same(twins, en.entry(mutation[:size]))
            assert len(failures) == 1
            assert tables == {}


def test_one_byte_of_mutations(twins: Twins) -> None:
    """Both say the same whatever a byte of a real mutation becomes."""
    for mutation in twins.mutations[::60]:
        for at in range(0, min(len(mutation), 240), 2):
            changed = (mutation[:at] + bytes([mutation[at] ^ mask]) + mutation[at + 1 :] for mask in (1, 2, 0x44, 0xFF))
            same(twins, b"".join(map(en.entry, changed)))
