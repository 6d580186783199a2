"""Segments to batches of changes: walks the sections, feeds the kernel, and gives what is damaged a place."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch, Damage, Position
from cdc_pipeline.decode.arrow import take_batch
from cdc_pipeline.decode.encryption import KeyProvider
from cdc_pipeline.decode.section_cy import ENDED, FULL, SKIPPED, WANTED, Kernel, TableColumns
from cdc_pipeline.decode.segment import Section, SegmentFile, Unreadable
from cdc_pipeline.errors import EntryError, SectionError
from cdc_pipeline.schema import Schema, Table

DEFAULT_ROWS = 20_000
DEFAULT_BYTES = 32 * 2**20
_FIRST_VERSION_UNSIGNED = 8
_EVERYTHING = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """What lies between two positions of one segment; `tables` have changes, in no particular order.

    `mutations` counts all that were read, those of tables that are filtered included. `last` is true for the final
    batch of what was to be read.
    """

    segment: str
    start: int
    end: int
    tables: tuple[ChangeBatch, ...]
    damage: tuple[Damage, ...]
    mutations: int
    last: bool

    @property
    def position(self) -> Position:
        """Where a lane stands once this batch is loaded."""
        return Position(self.segment, self.end)


class Decoder:
    """Reads segments with the tables of a schema; `wanted` says which tables' changes come out.

    Not thread-safe: the column buffers are reused from batch to batch.
    """

    def __init__(
        self,
        schema: Schema,
        wanted: Callable[[Table], bool],
        *,
        keys: KeyProvider | None = None,
        max_rows: int = DEFAULT_ROWS,
        max_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self._schema = schema
        self._keys = keys
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._columns = {
            table.id.bytes: _table_columns(table, WANTED if wanted(table) else SKIPPED) for table in schema
        }
        self._kernel = Kernel(self._columns)

    def open(self, path: Path, after: int = 0) -> SegmentReading:
        """A reading of one segment that goes on beyond the logical position `after`; a context manager.

        Raises `SegmentError` for a header, `OSError` for a file that cannot be read, and `ConfigurationError` for an
        encrypted segment without its key.
        """
        return SegmentReading(self, SegmentFile(path, self._keys), after)

    def read(self, path: Path, after: int = 0, until: int | None = None) -> Iterator[DecodedBatch]:
        """The changes of a segment at logical positions beyond `after`, whole sections up to `until` only.

        Damage within the segment comes in the batches; the walk goes on where Cassandra's would. Raises as `open`.
        """
        with self.open(path, after) as reading:
            yield from reading.batches(until)


class SegmentReading:
    """One pass over one segment, which may be asked again while Cassandra writes on. A context manager."""

    def __init__(self, decoder: Decoder, file: SegmentFile, after: int) -> None:
        self._decoder = decoder
        self._kernel = decoder._kernel
        self._file = file
        self._start = after
        self._end = max(after, file.header.length)
        self._damage: list[Damage] = []
        self._before = self._kernel.mutations_read

    def __enter__(self) -> SegmentReading:
        self._file.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.__exit__(*exc)

    def batches(self, until: int | None = None) -> Iterator[DecodedBatch]:
        """What lies beyond the last batch that was given, whole sections up to `until` only; the last one says so."""
        for columns in self._kernel.waiting():
            columns.discard()  # left by a reading that was given up
        self._before, self._damage = self._kernel.mutations_read, []
        self._end = max(self._start, self._file.header.length)
        after = self._start
        for section in self._file.sections(after, until):
            if isinstance(section, Unreadable):
                if section.logical_end > after:
                    self._damage.append(Damage("section", section.error))
                    self._end = max(self._end, section.logical_end)
                continue
            more = yield from self._section(section, after)
            if not more:
                break
        yield self._batch(last=True)

    def _section(self, section: Section, after: int) -> Generator[DecodedBatch, None, bool]:
        """Gives the batches that fill up inside the section; returns whether the segment goes on behind it."""
        base = section.logical_start + 8
        at, state = 0, FULL
        unsigned = self._file.header.version >= _FIRST_VERSION_UNSIGNED
        limits = self._decoder
        while state == FULL:
            at, state = self._kernel.read(
                section.data, section.length, at, base, after, unsigned, limits._max_rows, limits._max_bytes
            )
            if self._kernel.failed:
                self._collect_damage(section)
            if state == FULL:
                self._end = max(self._end, base + at if at else section.logical_start)
                yield self._batch(last=False)
        self._end = max(self._end, section.logical_end)
        if state == ENDED:  # no writer leaves this: a marker that points too far, or pages that never reached the disk
            offset, rest = section.file_offset + 8 + at, section.length - at
            what = f"expected an entry, found {'a size of 0' if rest >= 4 else f'{rest} bytes'}: the segment ends here"
            self._damage.append(Damage("section", SectionError(self._file.name, offset, what)))
        return bool(state != ENDED)

    def _collect_damage(self, section: Section) -> None:
        for kind, at, size, message, table_id, column in self._kernel.take_failures():
            offset = section.file_offset + 8 + at
            name = column.decode("utf-8", "replace") if column is not None else None
            if kind == "table":
                message = (
                    f"table id {uuid.UUID(bytes=table_id)}: expected in the schema, found in none of its snapshots"
                )
            elif kind == "column":
                message = (
                    f"column {name} of {self._table_name(table_id)}: expected in the schema, found in none of its rows"
                )
            error = (SectionError if kind == "section" else EntryError)(self._file.name, offset, message)
            found = uuid.UUID(bytes=table_id) if table_id is not None else None
            self._damage.append(Damage(kind, error, size, found, name))

    def _table_name(self, table_id: bytes) -> str:
        return self._decoder._schema.tables[uuid.UUID(bytes=table_id)].full_name

    def _batch(self, *, last: bool) -> DecodedBatch:
        now = dt.datetime.now(dt.UTC)
        schema = self._decoder._schema.tables
        tables = tuple(
            take_batch(schema[uuid.UUID(bytes=columns.table_id)], self._file.name, columns, now)
            for columns in self._kernel.waiting()
        )
        mutations = self._kernel.mutations_read
        batch = DecodedBatch(
            segment=self._file.name,
            start=self._start,
            end=self._end,
            tables=tables,
            damage=tuple(self._damage),
            mutations=mutations - self._before,
            last=last,
        )
        self._start, self._before, self._damage = self._end, mutations, []
        return batch


def _table_columns(table: Table, wanted: int) -> TableColumns:
    dropped = {column.name: column.dropped_micros for column in table.dropped}
    names = {
        column.name.encode(): (
            index,
            -1 if column.type.multi_cell or column.type.fixed_length is None else column.type.fixed_length,
            column.type.multi_cell,
            dropped.get(column.name, NO_TIMESTAMP),
        )
        for index, column in enumerate(table.value_columns)
    }
    clustering = [-1 if c.type.fixed_length is None else c.type.fixed_length for c in table.clustering]
    return TableColumns(table.id.bytes, wanted, len(table.partition_key), clustering, names)
