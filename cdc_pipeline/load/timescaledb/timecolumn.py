"""Which column of a primary key is a hypertable's time: it never changes, so a row never moves to another chunk."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.plan import KeyColumn, TablePlan
from cdc_pipeline.load.postgres.types import ValueType
from cdc_pipeline.types import Scalar

DERIVED = '"r:at"'
"""The column of a time that is made of a key column."""

_END_MICROS = 9_223_371_331_200_000_000 - 946_684_800_000_000
_END_DAYS = _END_MICROS // 86_400_000_000
"""TimescaleDB counts µs since 1970 where PostgreSQL counts since 2000, and so ends 30 years sooner (time_utils.h)."""

_DERIVED_BY = {
    ("timestamp", "bigint"): "cdc.time_of_millis(i.{})",
    ("date", "integer"): "cdc.time_of_days(i.{})",
    ("timeuuid", "uuid"): "cdc.time_of_timeuuid(i.{})",
}
"""(CQL type, SQL type) of a key column -> the time that it makes; `functions.sql`."""

_DIRECT = {
    ("timestamp", "timestamp with time zone"): (">q", _END_MICROS),
    ("date", "date"): (">i", _END_DAYS),
}
"""(CQL type, SQL type) of a key column that is the time itself -> its binary form, and where TimescaleDB ends."""


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """`column` is the key column of Cassandra; `name` the column of the state table that is the time, quoted, equal to
    the key column's own where `expression` is None, else filled by it (over row `i`)."""

    key: KeyColumn
    name: str
    expression: str | None


def time_column(plan: TablePlan) -> TimeColumn | None:
    """The time of a table, by these rules; None when no column of its key has one.

    The first `timestamp` or `date` clustering column, else the first `timeuuid` one, else a `timestamp` or `date` of
    the partition key. A masked column is text and no time.
    """
    for key in _candidates(plan):
        kind = (_cql(key), key.type.sql)
        if key.masked:
            continue
        if kind in _DIRECT:
            return TimeColumn(key, key.sql_name, None)
        if kind in _DERIVED_BY:
            return TimeColumn(key, DERIVED, _DERIVED_BY[kind].format(key.sql_name))
    return None


def _candidates(plan: TablePlan) -> Iterator[KeyColumn]:
    dated = ("timestamp", "date")
    yield from (key for key in plan.clustering if _cql(key) in dated)
    yield from (key for key in plan.clustering if _cql(key) == "timeuuid")
    yield from (key for key in plan.partition_key if _cql(key) in dated)


def _cql(key: KeyColumn) -> str | None:
    return key.column.type.name if isinstance(key.column.type, Scalar) else None


def bounded(key: KeyColumn) -> KeyColumn:
    """A key column that is a hypertable's time: no empty value, none behind TimescaleDB's end; such rows are parked."""
    form, end = _DIRECT[_cql(key) or "", key.type.sql]
    kind = dataclasses.replace(key.type, encode=_bounded(key.type, form, end), empty_is_null=False, at_once=None)
    return dataclasses.replace(key, type=kind)


def _bounded(kind: ValueType, form: str, end: int) -> Callable[[bytes], bytes]:
    def encode(raw: bytes) -> bytes:
        if not raw:
            raise Unfit("an empty value, which a hypertable's time cannot be")
        field = kind.encode(raw)
        if struct.unpack(form, field)[0] >= end:
            raise Unfit("a time after 294246, where TimescaleDB ends")
        return field

    return encode
