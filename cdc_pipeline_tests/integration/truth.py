"""A destination against a recording's truth, row by row, and what its dead letters explain."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg

from cdc_pipeline.change import ChangeEvent
from cdc_pipeline.load import Sink, TruthRow, read_truth
from cdc_pipeline.load.postgres import PostgresSink, names
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline.load.postgres.parity import _Field
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.postgres.types import Unfit
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.transform import TableMasks
from cdc_pipeline_tests.integration.workspace import events_of
from cdc_pipeline_tests.recordings import Recording

RawKey = tuple[bytes | None, ...]

_ALL = 1_000_000


@dataclasses.dataclass(frozen=True)
class Explained:
    """Raw keys of parked changes: whole primary keys, partitions of parked static rows and deletions, and every
    partition with a parked change: where its rows differ, so may the row that shows its statics alone."""

    rows: frozenset[tuple[str, RawKey]]
    partitions: frozenset[tuple[str, RawKey]]
    touched: frozenset[tuple[str, RawKey]]

    @classmethod
    def by_letters(cls, runner: LaneRunner) -> Explained:
        """The keys of the changes whose event ids stand in the dead letters."""
        ids = {uuid.UUID(str(letter.event["event_id"])) for letter in runner.sink.dead_letters(limit=_ALL)}
        parked = [event for event in events_of(runner) if event.event_id in ids]
        assert {event.event_id for event in parked} == ids
        return cls(
            frozenset((_table(e), (*e.partition_key.values(), *e.clustering_key.values())) for e in parked),
            frozenset((_table(e), tuple(e.partition_key.values())) for e in parked if _is_wide(e)),
            frozenset((_table(e), tuple(e.partition_key.values())) for e in parked),
        )

    def covers(self, masks: TableMasks, row: TruthRow) -> bool:
        """Whether a dead letter says why this row may differ."""
        table = masks.table
        partition = tuple(row[column.name] for column in table.partition_key)
        whole = tuple(row[column.name] for column in table.primary_key)
        if table.clustering and not any(row[column.name] is not None for column in table.clustering):
            return (table.full_name, partition) in self.touched
        return (table.full_name, whole) in self.rows or (table.full_name, partition) in self.partitions


def _table(event: ChangeEvent) -> str:
    return f"{event.keyspace}.{event.table_name}"


def _is_wide(event: ChangeEvent) -> bool:
    return event.is_static or not event.clustering_key


def tables_with_truth(
    project: Project, runner: LaneRunner, recording: Recording
) -> Iterator[tuple[TableMasks, list[TruthRow]]]:
    """The loaded tables that a recording has a truth of."""
    for name, masks in project.loaded(runner.sink).items():
        path = recording.path / "expected" / f"{name}.raw.jsonl"
        if path.exists():
            yield masks, list(read_truth(path))


def plan_of(sink: Sink, masks: TableMasks) -> TablePlan:
    """What the destination made of a table."""
    assert isinstance(sink, PostgresSink)
    return sink.table_plan(masks.table, masks)


def unexplained(
    sink: Sink, conninfo: str, masks: TableMasks, truth: Iterable[TruthRow], as_of: str, why: Explained
) -> tuple[list[TruthRow], list[str]]:
    """(rows of the truth, rows of the view) that differ although no dead letter names their key."""
    plan = plan_of(sink, masks)
    clear = [row for row in truth if not why.covers(masks, row)]
    fields = [_Field(plan, masks, column) for column in masks.table.columns]
    unfit = [row for row in clear if not fits(fields, row)]
    found = sink.compare(masks.table, masks, (row for row in clear if row not in unfit), as_of)
    if not found.extra:
        return [*unfit, *found.missing], []
    parked = [dict(zip(_key_names(masks), key, strict=True)) for of, key in why.rows if _is_whole(masks, of, key)]
    wide = [dict(zip(_partition_names(masks), key, strict=True)) for of, key in why.partitions if _is_of(masks, of)]
    touched = [dict(zip(_partition_names(masks), key, strict=True)) for of, key in why.touched if _is_of(masks, of)]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        named = set(key_texts(connection, plan, masks, parked, _key_names(masks)))
        named_partitions = set(key_texts(connection, plan, masks, wide, _partition_names(masks)))
        named_statics = set(key_texts(connection, plan, masks, touched, _partition_names(masks)))
        keys = ", ".join(map(names.quoted, _key_names(masks)))
        clustering = ", ".join(names.quoted(column.name) for column in masks.table.clustering) or "0"
        partition = ", ".join(map(names.quoted, _partition_names(masks)))
        listed = ", ".join(names.quoted(column.name) for column in masks.table.columns)
        connection.execute("SELECT set_config('cdc.as_of', %s, false)", (as_of,))
        query = (
            f"SELECT row({listed})::text, row({keys})::text, row({partition})::text, num_nonnulls({clustering}) = 0 "
        )
        query += f"FROM {plan.public}"
        extra = [
            text
            for text, key, part, alone in connection.execute(query.encode()).fetchall()
            if text in found.extra and key not in named and part not in named_partitions
            if not (alone and part in named_statics)
        ]
    missing: list[Any] = [*unfit, *found.missing]
    return missing, extra


def fits(fields: Iterable[_Field], row: Mapping[str, bytes | None]) -> bool:
    """Whether the destination's types hold a row of the truth."""
    try:
        for field in fields:
            field.encode(row)
    except Unfit:
        return False
    return True


def key_texts(
    connection: psycopg.Connection[Any],
    plan: TablePlan,
    masks: TableMasks,
    keys: Iterable[Mapping[str, bytes | None]],
    columns: Iterable[str],
) -> list[str]:
    """Raw keys as the view shows them; those that the types cannot hold are left out, for no row can have them."""
    chosen = set(columns)
    fields = [_Field(plan, masks, column) for column in masks.table.primary_key if column.name in chosen]
    typed = ", ".join(f"c{at} {field.type.sql}" for at, field in enumerate(fields))
    listed = ", ".join(f"c{at}" for at in range(len(fields)))
    with connection.transaction():
        connection.execute(f"CREATE TEMPORARY TABLE keys ({typed}) ON COMMIT DROP".encode())
        with connection.cursor() as cursor, cursor.copy("COPY keys FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER)
            for key in keys:
                if fits(fields, key):
                    copy.write(len(fields).to_bytes(2, "big") + b"".join(field.encode(key) for field in fields))
            copy.write(TRAILER)
        return [text for (text,) in connection.execute(f"SELECT row({listed})::text FROM keys".encode()).fetchall()]


def _key_names(masks: TableMasks) -> list[str]:
    return [column.name for column in masks.table.primary_key]


def _partition_names(masks: TableMasks) -> list[str]:
    return [column.name for column in masks.table.partition_key]


def _is_of(masks: TableMasks, name: str) -> bool:
    return name == masks.table.full_name


def _is_whole(masks: TableMasks, name: str, key: RawKey) -> bool:
    return _is_of(masks, name) and len(key) == len(masks.table.primary_key)
