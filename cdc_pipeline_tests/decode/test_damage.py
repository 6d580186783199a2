"""Segments cut off at every byte and changed in every byte: nothing wrong is ever delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdc_pipeline.change import Damage
from cdc_pipeline.decode import KeyProvider
from cdc_pipeline.errors import SegmentError
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import damage, insert, lines, read

TEXTS = [b"one", b"two", b"three", b"four", b"five"]
ENTRIES = [en.entry(insert(text)) for text in TEXTS]
SECTIONS = [ENTRIES[0] + ENTRIES[1], b"", ENTRIES[2], ENTRIES[3] + ENTRIES[4]]
KEY, IV = bytes(range(16)), bytes(16)
KEYS = KeyProvider(default=KEY)


def _compressed(name: str) -> dict[str, Any]:
    return {"parameters": {"compressionClass": name}, "body": en.compressed(name), "tail": b""}


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    **{name: _compressed(name) for name in en.COMPRESSORS},
    "encrypted": {"parameters": en.encryption_parameters(IV), "body": en.encrypted(KEY, IV, 64), "tail": b""},
}


def delivered(folder: Path, data: bytes) -> tuple[list[dict[str, Any]], list[Damage] | SegmentError]:
    """The lines of these bytes, and their damage; a header's error counts as damage.

    Positions are left out: the length of a compressed section, which they count by, has no CRC.
    """
    try:
        batches = read(en.write(folder, data), keys=KEYS)
    except SegmentError as error:
        return [], error
    return [{**line, "position": None} for line in lines(batches)], damage(batches)


def next_fields(data: bytes, contents: Sequence[bytes], body: Callable[[bytes], bytes] = en.plain) -> set[int]:
    """Offsets of the bytes that no CRC covers: the next field of each marker."""
    at = 18 + int.from_bytes(data[12:14], "big")
    found: set[int] = set()
    for entries in contents:
        found.update(range(at, at + 4))
        at += 8 + len(body(entries))
    return found


def is_subsequence(found: list[Any], everything: list[Any]) -> bool:
    """Whether `found` are some of `everything`, in order."""
    rest = iter(everything)
    return all(any(one == other for other in rest) for one in found)


def check_every_length(folder: Path, kind: str) -> None:
    """Says that a file gives a prefix of the whole at any length, and the more the longer it is."""
    whole = en.segment(SECTIONS, **KINDS[kind])
    everything, clean = delivered(folder, whole)
    assert (len(everything), clean) == (len(TEXTS), [])
    before = 0
    for size in range(len(whole)):
        found, _ = delivered(folder, whole[:size])
        assert found == everything[: len(found)]
        assert len(found) >= before
        before = len(found)


def check_every_byte(folder: Path, kind: str) -> None:
    """Says that a changed byte is reported and alters nothing; in a marker's next field it may only lose a tail."""
    how = KINDS[kind]
    whole = en.segment(SECTIONS, **how)
    everything, _ = delivered(folder, whole)
    uncovered = next_fields(whole, SECTIONS, how.get("body", en.plain))
    for at in range(len(whole) - len(how.get("tail", bytes(8)))):
        for mask in (0x01, 0x80, 0xFF):
            found, reported = delivered(folder, whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
            assert is_subsequence(found, everything)
            if at in uncovered:
                assert found == everything[: len(found)]
            assert found == everything or reported, f"byte {at} lost something silently"


@pytest.mark.parametrize("check", [check_every_length, check_every_byte])
def test_plain_segments(tmp_path: Path, kernel: ModuleType, check: Callable[[Path, str], None]) -> None:
    """A plain segment, cut off or changed anywhere, gives nothing wrong on either kernel."""
    assert kernel
    check(tmp_path, "plain")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
@pytest.mark.parametrize("check", [check_every_length, check_every_byte])
def test_other_segments(tmp_path: Path, kind: str, check: Callable[[Path, str], None]) -> None:
    """Nor does a compressed or an encrypted one."""
    check(tmp_path, kind)


def test_every_byte_changed_loses_little(tmp_path: Path) -> None:
    """Of a plain segment, a change in a mutation loses that mutation, a change in a size loses its section's rest."""
    whole = en.segment(SECTIONS)
    everything, _ = delivered(tmp_path, whole)
    at = 28
    for index, entry in enumerate(ENTRIES[:2]):
        for offset in range(len(entry)):
            place = at + offset
            found, reported = delivered(tmp_path, whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
            lost = slice(index, 2 if offset < 8 else index + 1)
            assert found == [line for line in everything if line not in everything[lost]]
            assert isinstance(reported, list)
            assert [one.kind for one in reported] == ["section" if offset < 8 else "entry"]
        at += len(entry)


def test_zeros_from_every_byte_on(tmp_path: Path, kernel: ModuleType) -> None:
    """The tail of a memory-mapped file that never reached the disk reads as zeros: a prefix is delivered."""
    assert kernel
    whole = en.segment(SECTIONS)
    everything, _ = delivered(tmp_path, whole)
    for size in range(len(whole)):
        found, _ = delivered(tmp_path, whole[:size] + bytes(len(whole) - size))
        assert is_subsequence(found, everything)
        assert found == everything[: len(found)]
