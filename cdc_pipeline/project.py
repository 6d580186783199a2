"""A configured project: schema, policy, destinations and lanes, made from the settings on first use."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import structlog

from cdc_pipeline.archivist import Archivist, LaneView, Pruned
from cdc_pipeline.capture import ShardLog
from cdc_pipeline.capture.archive import ShardArchive
from cdc_pipeline.capture.space import Limits
from cdc_pipeline.config import (
    ClusterSchema,
    FileSchema,
    KeystoreEncryption,
    Settings,
    load_config,
)
from cdc_pipeline.decode import Decoder, KeyProvider, SchemaFollower
from cdc_pipeline.destinations import Destinations
from cdc_pipeline.errors import CdcError, ConfigurationError, SinkError
from cdc_pipeline.history import Places, SchemaHistory, ShardSchema, places_of
from cdc_pipeline.load import Purged, Sink, TableSummary
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.loaded import LoadedTables
from cdc_pipeline.observability.metrics import Metrics
from cdc_pipeline.offsets import Lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.retry import Retry
from cdc_pipeline.schema import SYSTEM_KEYSPACES, CompleteCounters, Schema, Table, TableFilter, load_schema
from cdc_pipeline.schema.changes import differences
from cdc_pipeline.schema.cluster import read_cluster
from cdc_pipeline.transform import KeyRing, MaskingPolicy, MaskingRules, TableMasks

_NAMED = 5
"""Tables that a sentence about differences names."""

log = structlog.get_logger()


class Project:
    """Everything that a command or a Dagster run needs; a context manager, because it may hold servers."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self._destinations = Destinations(settings)
        self._runners: list[LaneRunner] = []

    @classmethod
    def load(cls, config: Path | None) -> Project:
        """The project of a configuration file (default: `CDC_CONFIG`, else `cdc.yaml`)."""
        return cls(load_config(config))

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes connections and leaves embedded servers, which end with their last user."""
        for runner in self._runners:
            runner.close()
        self._runners.clear()
        self._destinations.close()

    # --- what is loaded ----------------------------------------------------------------------------------------

    @cached_property
    def schema(self) -> Schema:
        """The schema as its file or the live cluster says it now; a lane reads with that of its place in the log."""
        return self.fresh_schema()

    def fresh_schema(self) -> Schema:
        """The file or the live cluster, asked again."""
        source = self.settings.source.schema_source
        if isinstance(source, FileSchema):
            return load_schema(source.file, source.history)
        assert isinstance(source, ClusterSchema)
        password = source.password.reveal() if source.password is not None else None
        return read_cluster(source.contact_points, source.port, source.username, password)

    @cached_property
    def policy(self) -> MaskingPolicy:
        """The masking rules and, when there is one, the key ring."""
        masking = self.settings.masking
        rules = MaskingRules.load(masking.rules) if masking.rules is not None else MaskingRules.defaults()
        keys = masking.keys
        ring = None
        if keys is not None:
            ring = KeyRing.from_env(keys.env) if keys.env is not None else KeyRing.load(keys.file or "")
        return MaskingPolicy(rules, ring, masking.unclassified)

    def idle_rules(self) -> list[str]:
        """Masking rules that match no column of any known table: a typing error would leave a column in the clear."""
        columns = [(table.keyspace, table.name, column.name) for table in self.known for column in table.columns]
        return self.policy.idle_rules(columns)

    @cached_property
    def selected(self) -> dict[str, TableMasks]:
        """The known tables that the configuration selects, refused ones included, by full name."""
        return {t.full_name: TableMasks(self.policy, t) for t in self.known if self.chosen.selects(t)}

    @cached_property
    def known(self) -> tuple[Table, ...]:
        """The tables by name as the log says where it was read last; of others, as the schema's source does."""
        tables = {table.full_name: table for table in self.schema.current}
        for shard in self.settings.source.shards:
            last = self.history(shard).last()
            if last is None:
                continue
            current = {table.full_name: table for table in last.schema.current}
            gone = last.schema.tables.keys() - {table.id for table in current.values()}
            tables = {name: table for name, table in tables.items() if table.id not in gone or name in current}
            for name, table in current.items():
                if name not in tables or table.version >= tables[name].version:
                    tables[name] = table
        return tuple(tables[name] for name in sorted(tables))

    @cached_property
    def counter_places(self) -> dict[uuid.UUID, Places]:
        """Where the CREATE of the selected counter tables lies. Reads what no lane has read yet; keeps nothing."""
        counters = [masks.table for masks in self.selected.values() if masks.table.is_counter]
        if not counters:
            return {}
        return places_of(counters, {shard: self._places(shard, keep=False) for shard in self.settings.source.shards})

    def _places(self, shard: str, *, keep: bool = True) -> ShardSchema:
        return ShardSchema(self.schema, self.source(shard), self.history(shard), self.log_keys, keep=keep)

    def _seen(self, table: Table) -> Table:
        """The table with the place of its CREATE, from any shard that knows it."""
        places = [place for place in self.counter_places.get(table.id, {}).values() if place is not None]
        return dataclasses.replace(table, complete_since=places[0] if places else None) if table.is_counter else table

    @cached_property
    def counters(self) -> CompleteCounters:
        """Which counter tables can be loaded."""
        return CompleteCounters(self.settings.source.complete_counters)

    @cached_property
    def waits_for_tables(self) -> bool:
        """Whether there is no table yet, but those that are made in the log will be seen."""
        follows = SchemaFollower(self.schema).follows
        return follows and all(table.keyspace in SYSTEM_KEYSPACES for table in self.known)

    @cached_property
    def chosen(self) -> TableFilter:
        """The selection of the configuration."""
        return TableFilter.of(self.settings.source.tables)

    def check_selected(self) -> None:
        """`ConfigurationError` where nothing would be loaded: a lane's offset would pass everything."""
        if not self.selected and not self.waits_for_tables:
            raise ConfigurationError(
                "expected at least one table of the schema with cdc = true, found none that is selected",
                key="source.tables",
            )

    def loaded(self, sink: Sink) -> dict[str, TableMasks]:
        """The selected tables that a destination does not refuse. Needs the keys of what is masked."""
        tables = LoadedTables(self.chosen, self.policy, sink, self.counters)
        return {t.full_name: tables.masks(t) for t in map(self._seen, self.known) if tables.loads(t)}

    def plan(self, destination: str) -> list[TableSummary]:
        """What every selected table would become; writes nothing and needs no server."""
        self._check_overrides(destination)
        sink = self._destinations.planner(destination)
        return [self._summary(sink, masks) for masks in self.selected.values()]

    def _summary(self, sink: Sink, masks: TableMasks) -> TableSummary:
        summary, table = sink.summary(masks.table, masks), self._seen(masks.table)
        if summary.refusal is not None or not table.is_counter:
            return summary
        unknown, places = self.counters.refusal(table), self.counter_places[table.id]
        if unknown is not None:
            return TableSummary(summary.table, "", (), refusal=unknown)
        warnings = (*summary.warnings, *self.counters.warnings(table, places))
        return dataclasses.replace(summary, warnings=warnings, notes=tuple(self.counters.notes(table, places)))

    # --- destinations and lanes --------------------------------------------------------------------------------

    def destinations(self, only: str | None = None) -> list[str]:
        """The names of the destinations, or the one asked for; `ConfigurationError` when there is no such."""
        return _chosen("destination", self.settings.destinations, only)

    def shards(self, only: str | None = None) -> list[str]:
        """The names of the shards, or the one asked for."""
        return _chosen("shard", self.settings.source.shards, only)

    def lanes(self, destination: str | None = None, shard: str | None = None) -> list[Lane]:
        """Destinations x shards."""
        return [Lane(d, s) for d in self.destinations(destination) for s in self.shards(shard)]

    def conninfo(self, destination: str) -> str:
        """How to connect to a PostgreSQL or TimescaleDB; starts the server of an embedded one."""
        return self._destinations.conninfo(destination)

    def address(self, destination: str) -> Address:
        """Where a ClickHouse answers; starts the server of an embedded one."""
        return self._destinations.address(destination)

    def sink(self, destination: str) -> Sink:
        """A new connection to a destination, closed with the project; starts the server of an embedded one."""
        self._check_overrides(destination)
        return self._destinations.sink(destination)

    def _check_overrides(self, destination: str) -> None:
        """A mistyped column is an error; one of a table that is not there may still come in the log."""
        columns = self.settings.destinations[destination].types.columns
        tables = {table.full_name for table in self.known}
        known = {f"{table.full_name}.{column.name}" for table in self.known for column in table.columns}
        for name in columns:
            if name not in known and (self.schema.rows is None or name.rpartition(".")[0] in tables):
                key = f"destinations.{destination}.types.columns"
                raise ConfigurationError(f"expected a column of the schema, found {name}", key=key)

    def source(self, shard: str) -> ShardLog:
        """The log of a shard: its `cdc_raw` and, when one is configured, its archive."""
        source = self.settings.source
        archive = source.archive.directory / shard if source.archive is not None else None
        poll = source.watch.interval if source.watch.mode == "polling" else None
        return ShardLog(shard, source.shards[shard].directory, archive, poll)

    def archivist(self, shard: str) -> Archivist:
        """Who moves the finished segments of a shard to its archive. `ConfigurationError` without an archive."""
        source = self.source(shard)
        if source.archive is None:
            raise ConfigurationError("expected a directory for finished segments, found none", key="source.archive")
        return Archivist(source, ShardArchive(source.archive), self.schema, self.log_keys)

    def prune(self, shard: str) -> Pruned:
        """Removes from a shard's archive what every lane passed long enough ago. While a destination cannot be asked
        nothing is removed, and a `CdcError` says so."""
        archivist = self.archivist(shard)
        try:
            views = self.lane_views(shard)
        except (SinkError, ConfigurationError) as error:
            raise CdcError(
                f"shard {shard}: the archive is not pruned while a destination is unknown: {error}"
            ) from None
        return archivist.prune(views, self.retention)

    def purge(self, destination: str, *, optimize: bool = False) -> Iterator[Purged]:
        """One pass over the tables of a destination, each as it is done. Counters are left as they are. `optimize`: a
        ClickHouse merges all parts of each table afterwards."""
        sink = self.sink(destination)
        tables = [masks for masks in self.loaded(sink).values() if not masks.table.is_counter]
        retry = self.settings.retry
        trying = Retry(retry.attempts, retry.wait, retry.max_wait)
        trying.call(lambda: sink.prepare([(masks.table, masks) for masks in tables]))
        for masks in tables:
            retention = self.tombstone_retention(masks.table)
            yield trying.call(functools.partial(sink.purge, masks.table, retention, optimize=optimize))

    def tombstone_retention(self, table: Table) -> float:
        """Seconds for which what is deleted is remembered: a write may come as late as Cassandra brings one, as a lane
        may lag, and as a segment may be loaded again from the archive."""
        return max(self.settings.tombstone_retention.total_seconds(), table.gc_grace_seconds, self.retention)

    @property
    def retention(self) -> float:
        """Seconds that a segment stays in the archive after every lane has passed it."""
        archive = self.settings.source.archive
        return archive.retention.total_seconds() if archive is not None else 0.0

    def lane_views(self, shard: str) -> list[LaneView]:
        """Where the lanes of a shard stand, asked from every configured destination; `SinkError` if one is down."""
        views = []
        for lane in self.lanes(shard=shard):
            with self._destinations.visit(lane.destination) as sink:
                state = sink.state(lane)
                views.append(LaneView(lane, state.position, sink.segments(lane)) if state else LaneView(lane))
        return views

    def limits(self, shard: str) -> Limits:
        """The CDC space of a shard's node, and when to warn of it."""
        source = self.settings.source
        node, space = source.shards[shard], source.space
        return Limits(node.cdc_total_space, node.cdc_block_writes, space.share, space.forecast.total_seconds())

    def lane(self, lane: Lane) -> LaneRunner:
        """A runner of a lane with a decoder and a connection of its own."""
        source = self.source(lane.shard)
        places = self._places(lane.shard)
        self.check_selected()
        sink = self.sink(lane.destination)
        tables = LoadedTables(self.chosen, self.policy, sink, self.counters)
        tables.of(self.schema)  # what cannot be masked is said before a connection is made
        retry = self.settings.retry
        runner = LaneRunner(
            lane,
            source,
            self.decoder(lane.destination, tables.loads),
            tables,
            places,
            sink,
            retry=Retry(retry.attempts, retry.wait, retry.max_wait),
            metrics=self.metrics,
            seal=self.policy.seal,
            pace=self._destinations.pace(lane.destination),
        )
        self._runners.append(runner)
        return runner

    def history(self, shard: str) -> SchemaHistory:
        """What DDL in a shard's log did to the schema: beside its archive, else in the folder for it."""
        archive, apart = self.settings.source.archive, self.settings.source.followed_schema
        return SchemaHistory(archive.directory / shard / "schema" if archive is not None else apart / shard)

    def disagreement(self, shard: str) -> str | None:
        """What the schema's source says otherwise than the log of a shard, as far as that was read; None: they agree.

        The log is right about its place. A source may be newer than that, or older than the last change in the log.
        """
        last = self.history(shard).last()
        if last is None:
            return None
        log_tables, tables = (
            [table for table in schema.current if table.keyspace not in SYSTEM_KEYSPACES]
            for schema in (last.schema, self.schema)
        )
        found = differences(log_tables, tables)
        if not found:
            return None
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return (
            f"shard {shard}: expected {self.schema_source} to say what the log says at {last.position}, found: "
            f"{'; '.join(found[:_NAMED])}{more}"
        )

    @property
    def schema_source(self) -> str:
        """The schema's source in words: its file, or the cluster."""
        source = self.settings.source.schema_source
        return str(source.file) if isinstance(source, FileSchema) else f"cluster {source.contact_points[0]}"

    def decoder(self, destination: str, wanted: Callable[[Table], bool]) -> Decoder:
        """A decoder that follows the schema in the log, and asks the schema's source for what it lacks."""
        batch = self._destinations.batch(destination)
        return Decoder(
            self.schema,
            wanted,
            keys=self.log_keys,
            max_rows=batch.rows,
            max_bytes=batch.bytes,
            follow=True,
            refresh=self._refreshed,
        )

    def _refreshed(self) -> Schema:
        """The schema's source once more; where it cannot be asked, it knows nothing new."""
        try:
            return self.fresh_schema()
        except CdcError as error:
            log.warning("schema source", message=str(error))
            return self.schema

    @cached_property
    def log_keys(self) -> KeyProvider | None:
        """The keys of encrypted commit logs."""
        encryption = self.settings.source.encryption
        if encryption is None:
            return None
        if isinstance(encryption, KeystoreEncryption):
            key_password = encryption.key_password.reveal() if encryption.key_password is not None else None
            return KeyProvider.from_keystore(
                encryption.keystore, encryption.password.reveal(), key_password, encryption.store_type
            )
        return KeyProvider.from_hex_file(encryption.key.file)


def _chosen(what: str, known: Mapping[str, object], only: str | None) -> list[str]:
    if only is not None and only not in known:
        raise ConfigurationError(f"expected a {what} of {', '.join(known)}, found {only}")
    return [only] if only is not None else list(known)
