"""The dump of every recording equals, byte for byte, that of Cassandra's own reader."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from cdc_pipeline.decode import Decoder, KeyProvider, dump_lines
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema, Table
from cdc_pipeline_tests.recordings import NAMES, Recording, SegmentsDir

Open = Callable[[str], Recording]


def not_cassandras_own(table: Table) -> bool:
    """What the public dump form shows."""
    return table.keyspace not in SYSTEM_KEYSPACES


def dumped(folder: SegmentsDir, schema: Schema, keys: KeyProvider | None) -> list[bytes]:
    """The dump of a folder; its segments have no damage but mutations of tables that were dropped."""
    decoder = Decoder(schema, not_cassandras_own, keys=keys)
    lines: list[bytes] = []
    for path in folder.segments():
        for batch in decoder.read(path):
            assert [str(one.error) for one in batch.damage if one.kind != "table"] == []
            lines += [line.encode() for line in dump_lines(batch.tables)]
    return lines


def same(found: list[bytes], expected: list[bytes]) -> bool:
    """Compares line by line, so that a failure shows one line and not a megabyte."""
    for ours, cassandras in zip(found, expected, strict=False):
        assert ours == cassandras
    return len(found) == len(expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_folder_of_every_recording(open_recording: Open, name: str) -> None:
    """All steps, nodes and crash states of a recording dump as Cassandra's reader dumps them."""
    recording = open_recording(name)
    for folder in recording.segments_dirs():
        assert same(dumped(folder, recording.schema, recording.keys()), folder.oracle_lines()), folder.label


@pytest.mark.parametrize("name", ["tombstones-5.0", "schema-changes-5.0", "shop-3.11", "random-5.0v8-s4"])
def test_both_twins(open_recording: Open, kernel: ModuleType, name: str) -> None:
    """The interpreted kernel dumps segment versions 6, 7 and 8 as the compiled one does."""
    assert kernel
    recording = open_recording(name)
    assert same(dumped(recording.main, recording.schema, None), recording.main.oracle_lines())


def test_history(open_recording: Open) -> None:
    """With earlier snapshots, mutations of tables that are gone are dumped too."""
    recording = open_recording("schema-changes-5.0")
    assert recording.history is not None
    found = dumped(recording.main, recording.history, None)
    assert same(found, recording.history_lines())
    assert len(found) > len(recording.main.oracle_lines())


def test_keystore(open_recording: Open) -> None:
    """A Java keystore opens an encrypted recording as the bare key does."""
    recording = open_recording("shop-encrypted-5.0")
    facts = recording.keystore
    assert facts is not None
    keys = KeyProvider.from_keystore(
        recording.path / "keystore.jceks", facts["store password"], facts["key password"], facts["store type"]
    )
    assert same(dumped(recording.main, recording.schema, keys), recording.main.oracle_lines())


def test_positions_grow(open_recording: Open) -> None:
    """Within a segment no line's position is before that of the line above."""
    recording = open_recording("shop-zstd-5.0")
    decoder = Decoder(recording.schema, not_cassandras_own)
    for path in recording.main.segments():
        for batch in decoder.read(path):
            for change in batch.tables:
                positions = change.rows.column("position").to_pylist()
                assert positions == sorted(positions)
                assert all(batch.start < position <= batch.end for position in positions)
