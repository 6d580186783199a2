"""Segments to batches of changes: walks the sections, feeds the kernel, follows the schema, and places what is damaged.

DDL and TRUNCATE lie in the log among the data (format document, 8.6). A decoder that follows them ends a batch behind
each, so that everything before it is read with the old schema and everything behind with the new one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cdc_pipeline.change import NO_TIMESTAMP, ChangeBatch, Damage, Position, SchemaChange
from cdc_pipeline.decode.arrow import take_batch
from cdc_pipeline.decode.encryption import KeyProvider
from cdc_pipeline.decode.follow import SchemaFollower
from cdc_pipeline.decode.section_cy import CONTROL, CONTROLLED, DONE, ENDED, FULL, SKIPPED, WANTED, Kernel, TableColumns
from cdc_pipeline.decode.segment import Section, SegmentFile, Unreadable
from cdc_pipeline.errors import EntryError, SchemaError, SectionError
from cdc_pipeline.schema import Schema, Table

DEFAULT_ROWS = 8_000
DEFAULT_BYTES = 32 * 2**20
_FIRST_VERSION_UNSIGNED = 8
_NO_SCHEMA = Schema(())


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """What lies between two positions of one segment; `tables` have changes, in no particular order.

    `mutations` counts all that were read, those of tables that are filtered included. `last` is true for the final
    batch of what was to be read. `schema` is the one it was read with; `events` happened at its end, and
    `schema_behind` holds from there on.
    """

    segment: str
    start: int
    end: int
    tables: tuple[ChangeBatch, ...]
    damage: tuple[Damage, ...]
    mutations: int
    last: bool
    schema: Schema = field(default=_NO_SCHEMA, repr=False)
    events: tuple[SchemaChange, ...] = ()
    schema_behind: Schema = field(default=_NO_SCHEMA, repr=False)

    @property
    def position(self) -> Position:
        """Where a lane stands once this batch is loaded."""
        return Position(self.segment, self.end)

    @property
    def relearned(self) -> bool:
        """Whether another source taught the schema what the log lacks, at `start`: nothing was read."""
        return self.end == self.start and self.schema is not self.schema_behind


class Decoder:
    """Reads segments with the tables of a schema; `wanted` says which tables' changes come out.

    With `follow` it holds the schema of the place where it reads, and the tables that change it do not come out.
    `refresh` is asked once for each table or column that the schema lacks; what it does not know either is damage.
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
        follow: bool = False,
        refresh: Callable[[], Schema] | None = None,
    ) -> None:
        self._wanted = wanted
        self._keys = keys
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._follow = follow
        self._refresh = refresh
        self._asked: set[tuple[uuid.UUID, str | None]] = set()
        self.use(schema)

    @property
    def schema(self) -> Schema:
        """The schema that holds where the decoder stands."""
        return self._follower.schema

    @property
    def follows(self) -> bool:
        """Whether DDL and TRUNCATE in the log are followed: asked for, and the snapshot says how to read them."""
        return self._follow and self._follower.follows

    def use(self, schema: Schema) -> None:
        """Takes the schema of the place that is read next."""
        self._follower = SchemaFollower(schema)
        self._install()

    def like(self, schema: Schema, wanted: Callable[[Table], bool]) -> Decoder:
        """Another decoder with the same settings."""
        return Decoder(
            schema,
            wanted,
            keys=self._keys,
            max_rows=self._max_rows,
            max_bytes=self._max_bytes,
            follow=self._follow,
            refresh=self._refresh,
        )

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

    def _install(self) -> None:
        """A kernel for the schema as it is, its buffers empty."""
        follows = self.follows
        self._controls: list[TableColumns] = []
        made = {}
        for table in self.schema:
            how = (
                CONTROL if follows and self._follower.is_control(table) else WANTED if self._wanted(table) else SKIPPED
            )
            columns = made[table.id.bytes] = _table_columns(table, how)
            if how == CONTROL:
                self._controls.append(columns)
        self._kernel = Kernel(made)

    def _learn(self, table_id: uuid.UUID, column: str | None, position: Position) -> bool:
        """Asks another source about a table or a column, once; whether the schema knows it now."""
        if self._refresh is None or (table_id, column) in self._asked:
            return False
        self._asked.add((table_id, column))
        if not self._follower.adopt(self._refresh(), table_id, column, position):
            return False
        self._install()
        return True

    def _batch_of(self, columns: TableColumns, segment: str, now: dt.datetime) -> ChangeBatch:
        return take_batch(self.schema.tables[uuid.UUID(bytes=columns.table_id)], segment, columns, now)

    def _drop(self) -> None:
        """Forgets what a reading left that was given up."""
        for columns in self._kernel.waiting():
            columns.discard()
        self._kernel.take_failures()


class _Learned(Exception):
    """The schema knows more now than the batch at hand was begun with."""


class SegmentReading:
    """One pass over one segment, which may be asked again while Cassandra writes on. A context manager."""

    def __init__(self, decoder: Decoder, file: SegmentFile, after: int = 0) -> None:
        self._decoder = decoder
        self._file = file
        self._start = after
        self._end = max(after, file.header.length)
        self._unsigned = file.header.version >= _FIRST_VERSION_UNSIGNED
        self._damage: list[Damage] = []
        self._parked = 0
        self._before = 0
        self._whole = True
        self._over = False

    def __enter__(self) -> SegmentReading:
        self._file.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.__exit__()

    @property
    def position(self) -> Position:
        """How far it was read."""
        return Position(self._file.name, self._start)

    def batches(self, until: int | None = None) -> Iterator[DecodedBatch]:
        """What lies beyond the last batch that was given, whole sections up to `until` only; the last one says so."""
        while True:
            self._begin()
            known = self._decoder.schema
            try:
                yield from self._walk(until)
                return
            except _Learned:
                behind = self._decoder.schema
                yield DecodedBatch(
                    self._file.name, self._start, self._start, (), (), 0, False, known, schema_behind=behind
                )

    def _begin(self) -> None:
        """The batch anew, from its start; a walk that was given up inside a section goes back to it."""
        self._decoder._drop()
        if not self._whole:
            self._file.rewind()
        self._whole = False
        self._before = self._decoder._kernel.mutations_read
        self._end = max(self._start, self._file.header.length)
        self._damage, self._parked = [], 0

    def _walk(self, until: int | None) -> Iterator[DecodedBatch]:
        after = self._start
        for section in self._file.sections(after, until) if not self._over else ():
            if isinstance(section, Unreadable):
                if section.logical_end > after:
                    self._damage.append(Damage("section", section.error))
                    self._end = max(self._end, section.logical_end)
                continue
            at, state = self._read(section, 0, after)
            if state == DONE:
                self._end = max(self._end, section.logical_end)
            else:
                yield from self._rest(section, at, state, after)
            if self._parked > self._decoder._max_bytes:
                yield self._batch(last=False)
            if self._over:
                break
        self._whole = True
        yield self._batch(last=True)

    def _read(self, section: Section, at: int, after: int) -> tuple[int, int]:
        """Entries of a section from `at` on; (where it stopped, why)."""
        decoder = self._decoder
        start = section.logical_start + 8
        at, state = decoder._kernel.read(
            section.data, section.length, at, start, after, self._unsigned, decoder._max_rows, decoder._max_bytes
        )
        if decoder._kernel.failed:
            self._collect_damage(section)
        return at, state

    def _rest(self, section: Section, at: int, state: int, after: int) -> Iterator[DecodedBatch]:
        """Gives the batches that end inside the section, and passes it; `_over` is set where the segment ends."""
        while state in (FULL, CONTROLLED):
            self._end = max(self._end, section.logical_start + 8 + at if at else section.logical_start)
            if state == FULL:
                yield self._batch(last=False)
            else:
                yield from self._control(section.file_offset + 8 + at)
            at, state = self._read(section, at, after)
        self._end = max(self._end, section.logical_end)
        if state == ENDED:  # no writer leaves this: a marker that points too far, or pages that never reached the disk
            offset, rest = section.file_offset + 8 + at, section.length - at
            what = f"expected an entry, found {'a size of 0' if rest >= 4 else f'{rest} bytes'}: the segment ends here"
            self._damage.append(Damage("section", SectionError(self._file.name, offset, what)))
            self._over = True
            for passed in self._file.sections(after):  # nor does a later reading go on behind it
                self._end = max(self._end, passed.logical_end)

    def _control(self, file_offset: int) -> Iterator[DecodedBatch]:
        """Follows the mutation that ends here; the batch ends with it when it really changed something."""
        decoder = self._decoder
        now = dt.datetime.now(dt.UTC)
        changes = [decoder._batch_of(columns, self._file.name, now) for columns in decoder._controls if columns.rows]
        before = decoder.schema
        try:
            events = decoder._follower.apply(changes, Position(self._file.name, self._end))
        except (ValueError, SchemaError) as error:
            what = f"expected a change of the schema that can be followed, found: {error}"
            self._damage.append(Damage("schema", EntryError(self._file.name, file_offset, what), position=self._end))
            return
        if events:
            yield self._batch(last=False, before=before, events=events)

    def _collect_damage(self, section: Section) -> None:
        for kind, at, size, message, raw_id, raw_column in self._decoder._kernel.take_failures():
            place = section.file_offset + 8 + at
            table_id = uuid.UUID(bytes=raw_id) if raw_id is not None else None
            column = raw_column.decode("utf-8", "replace") if raw_column is not None else None
            if table_id is None:
                error = (SectionError if kind == "section" else EntryError)(self._file.name, place, message)
                self._damage.append(Damage(kind, error, size))
                continue
            if self._decoder._learn(table_id, column, Position(self._file.name, self._start)):
                raise _Learned
            error = EntryError(self._file.name, place, self._unknown(table_id, column))
            mutation = section.data[at + 8 : at + 8 + size]
            position = section.logical_start + 8 + at + size + 12
            self._parked += size
            self._damage.append(Damage(kind, error, size, table_id, column, mutation, position))

    def _unknown(self, table_id: uuid.UUID, column: str | None) -> str:
        if column is None:
            return f"table id {table_id}: expected in the schema, found in none of its snapshots"
        name = self._decoder.schema.tables[table_id].full_name
        return f"column {column} of {name}: expected in the schema, found in none of its rows"

    def _batch(
        self, *, last: bool, before: Schema | None = None, events: tuple[SchemaChange, ...] = ()
    ) -> DecodedBatch:
        """What was read since the last batch; with `before`, the decoder reads on with another schema."""
        decoder = self._decoder
        now = dt.datetime.now(dt.UTC)
        schema = before or decoder.schema
        tables = tuple(
            take_batch(schema.tables[uuid.UUID(bytes=columns.table_id)], self._file.name, columns, now)
            for columns in decoder._kernel.waiting()
        )
        batch = DecodedBatch(
            segment=self._file.name,
            start=self._start,
            end=self._end,
            tables=tables,
            damage=tuple(self._damage),
            mutations=decoder._kernel.mutations_read - self._before,
            last=last,
            schema=schema,
            events=events,
            schema_behind=decoder.schema,
        )
        if before is not None:
            decoder._install()
        self._start, self._before = self._end, decoder._kernel.mutations_read
        self._damage, self._parked = [], 0
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
