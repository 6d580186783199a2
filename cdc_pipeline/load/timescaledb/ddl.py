"""The DDL of a table in TimescaleDB: PostgreSQL's, with the table of rows made a hypertable while it is empty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib import resources

from cdc_pipeline.load.postgres import ddl, names
from cdc_pipeline.load.postgres.plan import CLUSTERING, TablePlan
from cdc_pipeline.load.timescaledb.options import HypertableOptions
from cdc_pipeline.load.timescaledb.plan import HypertablePlan

FUNCTIONS = resources.files(__package__).joinpath("functions.sql").read_text(encoding="utf-8")
"""What makes times of key columns."""


def statements(plan: TablePlan, options: HypertableOptions) -> Iterator[str]:
    """The tables and indexes of a table; the unique index comes after the hypertable, which gives it to its chunks."""
    table, *rest = ddl.statements(plan)
    yield table
    if isinstance(plan, HypertablePlan) and plan.time is not None:
        yield hypertable(plan.state, plan.time.name, options.chunk_interval)
    yield from rest


def hypertable(table: str, time: str, chunk: timedelta) -> str:
    """Makes a hypertable of an empty table; may be repeated."""
    by = f"by_range({names.literal(_bare(time))}, {interval(chunk)})"
    return f"SELECT create_hypertable({_regclass(table)}, {by}, create_default_indexes => false, if_not_exists => true)"


def settings(plan: HypertablePlan, options: HypertableOptions) -> Iterator[str]:
    """What may be changed later, and holds for chunks that come: their span, and when they are compressed.

    Compressed rows lie by partition, sorted as Cassandra sorts them, so that a merge unpacks few of them.
    """
    assert plan.time is not None
    yield chunk_interval(plan.state, options.chunk_interval)
    if options.compress_after is None:
        return
    segments = [name for name in plan.partition_names if name != plan.time.name]
    order = [CLUSTERING] if plan.has_clustering else []
    yield compression(plan.state, segments, [*order, plan.time.name])
    yield from compression_policy(plan.state, options.compress_after)


def chunk_interval(table: str, chunk: timedelta) -> str:
    """How long a span the chunks that are made from now on hold."""
    return f"SELECT set_chunk_time_interval({_regclass(table)}, {interval(chunk)})"


def compression(table: str, segments: list[str], order: list[str]) -> str:
    """How chunks are compressed; the names are quoted ones."""
    by = {"compress_segmentby": segments, "compress_orderby": order}
    options = [f"timescaledb.{name} = {names.literal(', '.join(columns))}" for name, columns in by.items() if columns]
    return f"ALTER TABLE {table} SET (timescaledb.compress, {', '.join(options)})"


def compression_policy(table: str, after: timedelta) -> Iterator[str]:
    """Replaces the job that compresses chunks."""
    yield f"SELECT remove_compression_policy({_regclass(table)}, if_exists => true)"
    yield f"SELECT add_compression_policy({_regclass(table)}, compress_after => {interval(after)})"


def interval(span: timedelta) -> str:
    """A span as SQL."""
    days, seconds = span.days, span.seconds
    return f"INTERVAL '{days} days'" if not seconds else f"INTERVAL '{days * 86_400 + seconds} seconds'"


def _regclass(table: str) -> str:
    return names.literal(table)


def _bare(quoted: str) -> str:
    return quoted.strip('"').replace('""', '"')
