"""The tables that all state tables share, and what is read of them. Every one of them takes each row twice unharmed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from cdc_pipeline.load.clickhouse.ddl import engine, on
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions, Cluster

OFFSETS, TRUNCATIONS, LETTERS = "cdc_offsets", "cdc_truncations", "dead_letters"
TABLES, MASKS = "cdc_tables", "mask_keys"

_TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # A lane's position; the truth about what is loaded. partition_id is the shard. One row for each segment, so that
    # one that turns up below the offset later is noticed; the lane stands at the row of the greatest `version`, which
    # is epoch << 40 plus the number of micro-batches since the claim; 0 is a backfill's.
    OFFSETS: (
        "ReplacingMergeTree",
        "destination String, partition_id String, commitlog_file String, version UInt64, commitlog_position UInt64, "
        "events_processed UInt64, last_committed_at DateTime64(6, 'UTC'), epoch UInt64, run_id String, writer String",
        ("destination", "partition_id", "commitlog_file"),
    ),
    # Tables that were emptied: what was written at or before `ts` is gone, also what arrives later.
    TRUNCATIONS: ("AggregatingMergeTree", "table_id UUID, ts SimpleAggregateFunction(max, UInt64)", ("table_id",)),
    # The tables that were loaded: one name may have stood for several, each with an id and a state of its own. The view
    # shows the one that was created last, as its greatest version says, of one version as it was chosen last (µs); ids
    # that tell no time are in the order in which they were registered (µs).
    TABLES: (
        "AggregatingMergeTree",
        "keyspace_name String, table_name String, table_id UUID, created SimpleAggregateFunction(max, Int64), "
        "registered SimpleAggregateFunction(min, UInt64), "
        "shown SimpleAggregateFunction(max, Tuple(version UInt64, at UInt64, view String)), "
        "dropped SimpleAggregateFunction(max, UInt8)",
        ("keyspace_name", "table_name", "table_id"),
    ),
    # The masking keys that a table's columns were masked with: a silent change would break every join.
    MASKS: (
        "AggregatingMergeTree",
        "keyspace_name String, table_name String, column_name String, "
        "how SimpleAggregateFunction(min, Tuple(decision String, fingerprint String))",
        ("keyspace_name", "table_name", "column_name"),
    ),
    # Row changes, and damaged places of the log, that could not be loaded. Never a value of a masked column. `tries`
    # are the loads that brought a letter: a micro-batch that is written again is the same one.
    LETTERS: (
        "AggregatingMergeTree",
        "id UUID, destination SimpleAggregateFunction(max, String), partition_id SimpleAggregateFunction(max, String), "
        "keyspace_name SimpleAggregateFunction(max, String), table_name SimpleAggregateFunction(max, String), "
        "reason SimpleAggregateFunction(max, String), "
        "said SimpleAggregateFunction(max, Tuple(failed_at DateTime64(6, 'UTC'), message String)), "
        "failed_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')), "
        "event SimpleAggregateFunction(max, String), schema_details SimpleAggregateFunction(max, String), "
        "commitlog_file SimpleAggregateFunction(max, String), commitlog_position SimpleAggregateFunction(max, UInt64), "
        "tries SimpleAggregateFunction(groupUniqArrayArray, Array(String)), "
        "status SimpleAggregateFunction(max, String)",
        ("id",),
    ),
}


def statements(options: ClickHouseOptions) -> Iterator[str]:
    """The database of the state and its tables; each may be repeated."""
    cluster = whole(options.cluster)
    yield f"CREATE DATABASE IF NOT EXISTS {quoted(options.state_database)}{on(cluster)}"
    for name, (kind, columns, key) in _TABLES.items():
        arguments = ("version",) if kind == "ReplacingMergeTree" else ()
        yield (
            f"CREATE TABLE IF NOT EXISTS {named(options, name)}{on(cluster)} ({columns}) "
            f"ENGINE = {engine(kind, cluster, *arguments)} ORDER BY ({', '.join(key)})"
        )


def whole(cluster: Cluster | None) -> Cluster | None:
    """A cluster all of whose servers are replicas of one: a lane has one offset, however its rows are spread."""
    if cluster is None or "{shard}" not in cluster.path:
        return cluster
    path = cluster.path.replace("{shard}", "all")
    return dataclasses.replace(cluster, path=path, replica="{shard}-" + cluster.replica)


def named(options: ClickHouseOptions, table: str) -> str:
    """A shared table, quoted."""
    return f"{quoted(options.state_database)}.{table}"
