"""The DDL of a table's state. Columns are only ever added; the server merges each cell as the greatest of its tuples.

Every stamp is a writetime (µs) with its sign turned, as an unsigned number: 0 is "never", which is what a column has
that an insert leaves out. A rank is 2 `x` (`transform/compaction.py`), plus 1 where there is a value to show, not
an empty one that is NULL: that loses to any other written in the same microsecond, as its bytes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdc_pipeline.load.clickhouse import names
from cdc_pipeline.load.clickhouse.options import Cluster
from cdc_pipeline.load.clickhouse.plan import CLUSTERING, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.clickhouse.types import CellsType, ValueType
from cdc_pipeline.load.clickhouse.types.counters import BY_CLOCK, BY_TIME

LIVE, DELETED = "r:l", "r:d"
"""Row liveness (stamp, rank) and the greatest deletion (stamp) of a row."""

LASTING, PASSING, LAST = "r:n", "r:m", "r:x"
"""The greatest stamps of the row's values that last and of those that expire, and the latest of their ranks: what shows
a row without a look at its cells."""

APPLIED = "r:t"
"""When something was written here last (s), by the server's clock: a purge counts from then."""

SIGN = 1 << 63
TOMBSTONE = 1 << 63
"""The rank of a tombstone; from 2 up to here a cell expires."""

_NOW = "toUInt32(toUnixTimestamp(now()))"

Columns = list[tuple[str, str]]


def tables(plan: TablePlan) -> Iterator[tuple[str, Columns, tuple[str, ...]]]:
    """(table, quoted; (column, definition); sorting key) of the rows, the static rows and the ledger."""
    partition = [column for key in plan.partition_key for column in _key_columns(key, plan.partition_names)]
    clustering = [column for key in plan.clustering for column in _key_columns(key, plan.row_key)]
    if plan.has_clustering:
        of_key = "String" if CLUSTERING in plan.row_key else _max("String")
        clustering.append((CLUSTERING, of_key))
    yield plan.state, [*partition, *clustering, *_row_columns(), *_values(plan.regular)], plan.row_key
    if plan.static:
        rows = [(DELETED, _max("UInt64")), _applied()]
        yield plan.static_state, [*partition, *rows, *_values(plan.static)], plan.partition_names
    if plan.has_clustering:
        ranges = [("lo", "String"), ("hi", "String"), ("ts", _max("UInt64")), _applied()]
        keys = [one for one in partition if one[0] in plan.partition_names]
        yield plan.ranges, [*keys, *ranges], (*plan.partition_names, "lo", "hi")


def create(
    table: str, columns: Columns, key: tuple[str, ...], cluster: Cluster | None = None, shard_by: Sequence[str] = ()
) -> list[str]:
    """A table of the state; where it is spread over shards, by whole partitions, the one that holds what a shard has,
    and one over all of them."""
    listed = ", ".join(f"{names.quoted(name)} {sql}" for name, sql in columns)
    order = ", ".join(map(names.quoted, key))
    held = physical(table, cluster)
    statements = [
        f"CREATE TABLE IF NOT EXISTS {held}{on(cluster)} ({listed}) "
        f"ENGINE = {engine('AggregatingMergeTree', cluster)} ORDER BY ({order}) SETTINGS allow_nullable_key = 1"
    ]
    if cluster is not None and cluster.distributed:
        database, name = (part.strip("`") for part in held.split("`.`"))
        places = ", ".join(map(names.literal, (cluster.name, database, name)))
        shard = f"cityHash64({', '.join(map(names.quoted, shard_by))})"
        spread = f"ENGINE = Distributed({places}, {shard})"
        statements.append(f"CREATE TABLE IF NOT EXISTS {table}{on(cluster)} AS {held} {spread}")
    return statements


def add(table: str, columns: Columns, cluster: Cluster | None = None) -> list[str]:
    """Columns that came later."""
    listed = ", ".join(f"ADD COLUMN IF NOT EXISTS {names.quoted(name)} {sql}" for name, sql in columns)
    return [f"ALTER TABLE {one}{on(cluster)} {listed}" for one in dict.fromkeys((physical(table, cluster), table))]


def drop(table: str, cluster: Cluster | None = None) -> list[str]:
    """A table of the state, and all that it holds."""
    return [f"DROP TABLE IF EXISTS {one}{on(cluster)}" for one in dict.fromkeys((table, physical(table, cluster)))]


def physical(table: str, cluster: Cluster | None) -> str:
    """The table, quoted, that holds the rows of one: itself, or what a shard has of it."""
    return f"{table[:-1]}:local`" if cluster is not None and cluster.distributed else table


def like(table: str, other: str, cluster: Cluster | None = None) -> str:
    """A table that takes what another takes, and keeps nothing."""
    return f"CREATE TABLE {table}{on(cluster)} AS {other} ENGINE = Null"


def on(cluster: Cluster | None) -> str:
    """` ON CLUSTER …`, where there is one."""
    return f" ON CLUSTER {names.quoted(cluster.name)}" if cluster is not None else ""


def engine(name: str, cluster: Cluster | None, *arguments: str) -> str:
    """A MergeTree engine, replicated where the cluster is."""
    if cluster is not None and cluster.replicated:
        return (
            f"Replicated{name}({', '.join([names.literal(cluster.path), names.literal(cluster.replica), *arguments])})"
        )
    return f"{name}({', '.join(arguments)})"


def value_parts(value: ValueColumn) -> Columns:
    """(column, definition) of everything the state table keeps for a column."""
    if isinstance(value.type, ValueType):
        kept = ", ".join(f"{name} {sql}" for name, sql in value.type.kept)
        return [(value.part("v"), _max(f"Tuple(w UInt64, x UInt64, {kept})"))]
    if isinstance(value.type, CellsType):
        cells = (value.part("v"), _max_map(f"Map(String, {value.type.cell})"))
    else:
        cells = (value.part("v"), _max_map(BY_CLOCK))
    parts = [cells, (value.part("d"), _max("UInt64"))]
    return parts if value.type is not None else [*parts, (value.part("o"), _max_map(BY_TIME))]


def _values(values: tuple[ValueColumn, ...]) -> Columns:
    return [part for value in values for part in value_parts(value)]


def _key_columns(key: KeyColumn, index: tuple[str, ...]) -> Columns:
    """What is not part of the sorting key follows from it."""
    typed = (key.place, key.sql if key.place in index else _first(key.sql) if key.has_forms else _following(key.sql))
    if not key.by_bytes or not key.place.startswith("p"):
        return [typed]
    return [typed, (key.raw, "String")]


def _row_columns() -> Columns:
    stamps = [(name, _max("UInt64")) for name in (DELETED, LASTING, PASSING, LAST)]
    return [(LIVE, _max("Tuple(w UInt64, x UInt64)")), *stamps, _applied()]


def _applied() -> tuple[str, str]:
    return APPLIED, f"{_max('UInt32')} DEFAULT {_NOW}"


def _max(sql: str) -> str:
    return f"SimpleAggregateFunction(max, {sql})"


def _max_map(sql: str) -> str:
    return f"SimpleAggregateFunction(maxMap, {sql})"


def _first(sql: str) -> str:
    """A value behind its place in the log: the first stays."""
    return f"SimpleAggregateFunction(min, Tuple(s UInt64, o UInt64, f {sql}))"


def _following(sql: str) -> str:
    """A column that follows from the key."""
    return f"SimpleAggregateFunction(any, {sql})" if "Map(" in sql else _max(sql)
