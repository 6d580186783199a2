"""Reading segments in a program of one's own: a file and a schema in, changes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cdc_pipeline.change import ChangeBatch, ChangeEvent, Damage
from cdc_pipeline.decode.changes import ordered_events
from cdc_pipeline.decode.encryption import KeyProvider
from cdc_pipeline.decode.reader import DecodedBatch, Decoder
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Schema, Table

Choice = Callable[[Table], bool]


def read_segment(
    path: str | Path,
    schema: Schema,
    *,
    tables: Choice | None = None,
    after: int = 0,
    until: int | None = None,
    keys: KeyProvider | None = None,
    on_damage: Callable[[Damage], None] | None = None,
) -> Iterator[ChangeBatch]:
    """The changes of one segment as batches, each of one table, in the log's order within it.

    `tables` chooses (default: all but Cassandra's own); `after` and `until` are logical positions, bytes (a live
    segment may be read up to the number in its `_cdc.idx`); `keys` opens an encrypted segment. Values are as they were
    written: nothing is masked.

    Damage raises its `SegmentError`, which says where, once everything before it was given; with `on_damage` it goes
    there, and reading goes on where Cassandra's would. Raises `SegmentError` for a header, `OSError` for a file that
    cannot be read, `ConfigurationError` for an encrypted segment without its key.
    """
    for decoded in _decoded(path, schema, tables, after, until, keys):
        yield from decoded.tables
        _tell(decoded, on_damage)


def read_events(
    path: str | Path,
    schema: Schema,
    *,
    tables: Choice | None = None,
    after: int = 0,
    until: int | None = None,
    keys: KeyProvider | None = None,
    on_damage: Callable[[Damage], None] | None = None,
) -> Iterator[ChangeEvent]:
    """The changes of one segment one by one, in the log's order across tables; arguments and errors as `read_segment`.

    Made for people, tests and small logs: an event costs some µs, where a batch costs a fraction of one for each row.
    """
    for decoded in _decoded(path, schema, tables, after, until, keys):
        for event, _ in ordered_events(decoded.tables):
            yield event
        _tell(decoded, on_damage)


def _decoded(
    path: str | Path, schema: Schema, tables: Choice | None, after: int, until: int | None, keys: KeyProvider | None
) -> Iterator[DecodedBatch]:
    decoder = Decoder(schema, tables or _not_cassandras, keys=keys)
    return decoder.read(Path(path), after, until)


def _not_cassandras(table: Table) -> bool:
    return table.keyspace not in SYSTEM_KEYSPACES


def _tell(decoded: DecodedBatch, on_damage: Callable[[Damage], None] | None) -> None:
    for damage in decoded.damage:
        if on_damage is None:
            raise damage.error
        on_damage(damage)
