"""One bit of a real segment dropped: what may be missing then, and what has to be reported."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import Bound, Damage, RowKind
from cdc_pipeline.decode import DecodedBatch, Decoder, SegmentFile
from cdc_pipeline.decode.segment import Section
from cdc_pipeline.errors import MarkerError, SegmentError

_OF_A_READING = ("update", "cell_end")
_STRUCTURE_SHARE = 0.3
_TAIL = 64
_ENTRY = 12


@dataclass(frozen=True)
class Extent:
    """Where a section lies: its marker and its end in the file, and the logical positions that it covers."""

    start: int
    end: int
    logical_start: int
    logical_end: int
    length: int


@dataclass(frozen=True)
class TableChanges:
    """All changes of a table in a segment, in the log's order; `cell_rows` says whose each cell is."""

    rows: pa.Table
    cells: pa.Table
    cell_rows: npt.NDArray[np.int64]
    ranges: Sequence[tuple[Bound, Bound]]

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The logical position of each row's mutation."""
        return np.asarray(self.rows.column("position").to_numpy())

    def kept(self, keep: npt.NDArray[np.bool_]) -> TableChanges:
        """Some of the rows, with their cells and ranges."""
        rows = self.rows.filter(pa.array(keep))
        cells = self.cells.filter(pa.array(keep[self.cell_rows]))
        kinds = np.asarray(self.rows.column("kind").to_numpy())
        kept = [one for one, is_kept in zip(self.ranges, keep[kinds == RowKind.RANGE], strict=True) if is_kept]
        return TableChanges(rows, cells, self.cell_rows, kept)

    def same(self, other: TableChanges, *, but: Sequence[str] = ()) -> bool:
        """Whether both hold the same changes, of which the columns `but` may differ."""
        return (
            self.rows.drop_columns(list(but)).equals(other.rows.drop_columns(list(but)))
            and self.cells.equals(other.cells)
            and list(self.ranges) == list(other.ranges)
        )


@dataclass(frozen=True)
class Decoded:
    """What a segment gave; `refused` is the error of its header."""

    tables: dict[uuid.UUID, TableChanges]
    damage: Sequence[Damage]
    refused: SegmentError | None = None


def decoded(decoder: Decoder, path: Path) -> Decoded:
    """A segment read to its end."""
    try:
        batches = list(decoder.read(path))
    except SegmentError as error:
        return Decoded({}, [], error)
    return Decoded(_by_table(batches), [one for batch in batches for one in batch.damage])


def _by_table(batches: Iterable[DecodedBatch]) -> dict[uuid.UUID, TableChanges]:
    rows: dict[uuid.UUID, list[pa.RecordBatch]] = {}
    cells: dict[uuid.UUID, list[pa.RecordBatch]] = {}
    owners: dict[uuid.UUID, list[npt.NDArray[np.int64]]] = {}
    ranges: dict[uuid.UUID, list[tuple[Bound, Bound]]] = {}
    for change in (change for batch in batches for change in batch.tables):
        table = change.table.id
        before = sum(batch.num_rows for batch in rows.setdefault(table, []))
        ends = np.asarray(change.rows.column("cell_end").to_numpy())
        owners.setdefault(table, []).append(np.repeat(np.arange(len(ends)) + before, np.diff(ends, prepend=0)))
        rows[table].append(change.rows.drop_columns(list(_OF_A_READING)))
        cells.setdefault(table, []).append(change.cells)
        ranges.setdefault(table, []).extend(change.ranges)
    return {
        table: TableChanges(
            pa.Table.from_batches(rows[table]),
            pa.Table.from_batches(cells[table]),
            np.concatenate(owners[table]),
            ranges[table],
        )
        for table in rows
    }


def extents(path: Path, decoder: Decoder) -> list[Extent]:
    """The sections of a whole segment."""
    data = path.read_bytes()
    with SegmentFile(path, decoder._keys) as file:
        return [
            Extent(
                one.file_offset,
                int.from_bytes(data[one.file_offset : one.file_offset + 4], "big"),
                one.logical_start,
                one.logical_end,
                one.length,
            )
            for one in file.sections()
            if isinstance(one, Section)
        ]


@dataclass(frozen=True)
class Flip:
    """A bit of a segment's file."""

    offset: int
    bit: int

    def of(self, data: bytes) -> bytes:
        """The bytes with it dropped or set."""
        return data[: self.offset] + bytes([data[self.offset] ^ 1 << self.bit]) + data[self.offset + 1 :]


def draw_flip(rng: random.Random, size: int, sections: Sequence[Extent]) -> Flip:
    """Any bit up to a little behind the last section; more often of the header, of a marker or of a length."""
    end = min(size, (sections[-1].end if sections else 0) + _TAIL)
    offset = rng.randrange(end)
    if rng.random() < _STRUCTURE_SHARE and sections:
        first = sections[0].start
        starts = [one.start for one in sections]
        offset = rng.randrange(first) if rng.random() < 0.2 else rng.choice(starts) + rng.randrange(12)
    return Flip(min(offset, size - 1), rng.randrange(8))


@dataclass(frozen=True)
class Whole:
    """A segment as it was recorded."""

    path: Path
    data: bytes
    decoded: Decoded
    sections: Sequence[Extent]
    plain: bool

    @classmethod
    def of(cls, path: Path, decoder: Decoder) -> Whole:
        """Reads it."""
        with SegmentFile(path, decoder._keys) as file:
            plain = not file.overhead
        return cls(path, path.read_bytes(), decoded(decoder, path), extents(path, decoder), plain)

    def check(self, flip: Flip, found: Decoded) -> None:
        """Says that what is left is right, and that what is not is reported at its place."""
        where = f"{self.path.name}: bit {flip.bit} of byte {flip.offset}"
        if self.sections and flip.offset < self.sections[0].start:
            assert found.refused is not None, f"{where}: a damaged header was read"
            assert found.refused.segment == self.path.name
            assert 0 <= found.refused.offset < len(self.data)
            return
        assert found.refused is None, f"{where}: {found.refused}"
        section = next((one for one in self.sections if one.start <= flip.offset < one.end), None)
        reported = self._reported(found)
        for one in reported:
            assert one.error.segment == self.path.name
            assert one.error.what
            assert one.error.offset >= (section.start if section else self.sections[-1].end), f"{where}: {one.error}"
        if self._shifts(flip, section):
            assert section is not None
            self._check_shifted(where, found, section, reported)
            return
        for position in self._missing(where, found):
            assert section is not None, f"{where}: position {position} is missing"
            loss = Loss(position, section, self.plain, self._led(flip, section))
            assert any(map(loss.explained, reported)), f"{where}: position {position} is missing in silence"

    def _led(self, flip: Flip, section: Extent) -> int | None:
        """Where a damaged marker says that the next one lies; None when it is another field."""
        if flip.offset - section.start >= 4:
            return None
        return int.from_bytes(flip.of(self.data)[section.start : section.start + 4], "big")

    def _reported(self, found: Decoded) -> list[Damage]:
        """Damage that the whole segment does not have."""
        before = {(one.kind, one.error.offset, one.error.what) for one in self.decoded.damage}
        return [one for one in found.damage if (one.kind, one.error.offset, one.error.what) not in before]

    def _shifts(self, flip: Flip, section: Extent | None) -> bool:
        """Whether it is in a length that no CRC covers, by which the positions behind it count."""
        return not self.plain and section is not None and 8 <= flip.offset - section.start < 12

    def _check_shifted(self, where: str, found: Decoded, section: Extent, reported: Sequence[Damage]) -> None:
        assert any(one.error.offset == section.start for one in reported), f"{where}: positions shifted in silence"
        for table, changes in found.tables.items():
            outside = self._outside(table, section)
            assert changes.same(outside, but=["position"]), f"{where}: another value"
            assert len(changes.positions) == len(outside.positions)

    def _outside(self, table: uuid.UUID, section: Extent) -> TableChanges:
        changes = self.decoded.tables[table]
        positions = changes.positions
        return changes.kept((positions <= section.logical_start) | (positions > section.logical_end))

    def _missing(self, where: str, found: Decoded) -> list[int]:
        """The positions of the mutations that are not there; the others are as they were."""
        missing: set[int] = set()
        assert found.tables.keys() <= self.decoded.tables.keys(), f"{where}: changes of another table"
        for table, changes in self.decoded.tables.items():
            there = found.tables[table].positions if table in found.tables else np.zeros(0, np.int64)
            keep = np.isin(changes.positions, there)
            missing |= set(changes.positions[~keep].tolist())
            if table in found.tables:
                assert found.tables[table].same(changes.kept(keep)), f"{where}: another value"
        return sorted(missing)


@dataclass(frozen=True)
class Loss:
    """A mutation that is missing since a bit of `section` changed; `led` is where its marker leads astray."""

    position: int
    section: Extent
    plain: bool
    led: int | None

    def explained(self, one: Damage) -> bool:
        """Whether a report is of this entry, of its section's rest, or of all that follows."""
        section = self.section
        if self.position <= section.logical_start:
            return False
        if one.kind == "entry":
            at = one.error.offset - section.start + section.logical_start
            return self.position - one.size - _ENTRY <= at <= self.position <= section.logical_end
        ends = isinstance(one.error, MarkerError) or one.error.what.endswith("the segment ends here")
        if one.error.offset == self.led:
            return ends
        deepest = section.end if self.plain else section.start + 8 + section.length  # counts what comes out of it
        inside = section.start <= one.error.offset <= max(section.end, deepest)
        return inside and (ends or self.led is not None or self.position <= section.logical_end)
