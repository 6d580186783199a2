"""What a user may choose about a ClickHouse destination, apart from its types and its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc_pipeline.schema import TableFilter


@dataclass(frozen=True)
class Cluster:
    """How tables are made on a cluster: all DDL goes `ON CLUSTER name`. `replicated` tables keep their log at `path`
    for `replica`, macros of the servers; `distributed` spreads partitions over shards, behind a `Distributed` table."""

    name: str
    replicated: bool = True
    path: str = "/clickhouse/tables/{shard}/{database}/{table}"
    replica: str = "{replica}"
    distributed: bool = False


@dataclass(frozen=True)
class ClickHouseOptions:
    """`state_database` holds what is ours, `prefix` begins the name of every database that a keyspace becomes; tables
    that `fast` names show a row by its last write alone, all others as Cassandra does; `settings` go with every
    statement."""

    state_database: str = "cdc"
    prefix: str = ""
    fast: TableFilter | None = None
    keep_columns: bool = False
    drop_tables: bool = False
    cluster: Cluster | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def distributed(self) -> bool:
        """Whether partitions are spread over the shards of a cluster."""
        return self.cluster is not None and self.cluster.distributed

    def is_fast(self, table: str) -> bool:
        """Whether a table (`keyspace.table`) is shown by its rows' last writes."""
        return self.fast is not None and self.fast.matches(table)
