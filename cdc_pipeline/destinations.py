"""The configured destinations: where each answers, its sink, and the embedded servers that are ours to start."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from cdc_pipeline.config import (
    BatchSettings,
    ClickHouseDestination,
    Destination,
    PostgresDestination,
    Settings,
    TimescaleDestination,
)
from cdc_pipeline.embedded.clickhouse import EmbeddedClickHouse
from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load import Sink
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions, Cluster
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.load.timescaledb import HypertableOptions, TimescaleSink
from cdc_pipeline.pace import Pace
from cdc_pipeline.schema import TableFilter

EMBEDDED_DATABASE = "cdc"
"""The database of an embedded PostgreSQL."""

_NOWHERE = Address("", 0)
"""For a sink that only plans."""


class Destinations:
    """All of them by name. Sinks and embedded servers are closed with it, and may be asked for by several threads."""

    def __init__(self, settings: Settings) -> None:
        self._places: Mapping[str, Destination] = settings.destinations
        self._batch = settings.batch
        self._postgres: dict[str, EmbeddedPostgres] = {}
        self._clickhouse: dict[str, EmbeddedClickHouse] = {}
        self._starting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._sinks: list[Sink] = []

    def close(self) -> None:
        """Closes connections and leaves embedded servers, which end with their last user."""
        for sink in self._sinks:
            sink.close()
        self._sinks.clear()
        for server in (*self._postgres.values(), *self._clickhouse.values()):
            server.stop()
        self._postgres.clear()
        self._clickhouse.clear()

    # --- where they answer -------------------------------------------------------------------------------------

    def conninfo(self, name: str) -> str:
        """libpq's connection string of a PostgreSQL or TimescaleDB; starts an embedded server."""
        place = self._places[name]
        if isinstance(place, ClickHouseDestination):
            raise ConfigurationError(f"destination {name}: expected a PostgreSQL or TimescaleDB, found {place.kind}")
        if not place.embedded:
            return place.conninfo()
        with self._starting[name]:
            if name not in self._postgres:
                self._postgres[name] = EmbeddedPostgres(_directory(place))
            return self._postgres[name].start().create_database(EMBEDDED_DATABASE)

    def address(self, name: str) -> Address:
        """Where a ClickHouse answers; starts an embedded server."""
        place = self._places[name]
        if not isinstance(place, ClickHouseDestination):
            raise ConfigurationError(f"destination {name}: expected a ClickHouse, found {place.kind}")
        if place.embedded:
            with self._starting[name]:
                if name not in self._clickhouse:
                    self._clickhouse[name] = EmbeddedClickHouse(_directory(place))
                server = self._clickhouse[name].start()
                return Address(server.host, server.port, server.username, server.password)
        try:
            return Address(**place.endpoint()._asdict())
        except ConfigurationError as error:
            if error.key is not None:  # a secret that is not set says its place
                raise
            raise ConfigurationError(str(error), key=f"destinations.{name}.dsn") from None

    # --- what writes there -------------------------------------------------------------------------------------

    def sink(self, name: str) -> Sink:
        """A new connection to a destination, closed with all others; starts an embedded server."""
        sink = self._connected(name)
        self._sinks.append(sink)
        return sink

    @contextmanager
    def visit(self, name: str) -> Iterator[Sink]:
        """A connection for a short look."""
        with closing(self._connected(name)) as sink:
            yield sink

    def _connected(self, name: str) -> Sink:
        place = self._places[name]
        if isinstance(place, ClickHouseDestination):
            return _clickhouse(name, place, self.address(name))
        return _postgres(name, place, self.conninfo(name))

    def planner(self, name: str) -> Sink:
        """A sink that can say what tables become; it has no server."""
        place = self._places[name]
        if isinstance(place, ClickHouseDestination):
            return _clickhouse(name, place, _NOWHERE)
        return _postgres(name, place, "")

    def batch(self, name: str) -> BatchSettings:
        """How much one micro-batch of a destination takes."""
        place = self._places[name]
        return place.batch if isinstance(place, ClickHouseDestination) else self._batch

    def pace(self, name: str) -> Pace:
        """How often a lane of a destination commits."""
        place, batch = self._places[name], self.batch(name)
        seconds = place.pace.total_seconds() if isinstance(place, ClickHouseDestination) else 0.0
        return Pace(seconds, batch.rows, batch.bytes)


def _directory(place: Destination) -> Path:
    assert place.directory is not None  # as the configuration was checked
    return place.directory


def _postgres(name: str, place: PostgresDestination | TimescaleDestination, conninfo: str) -> Sink:
    postgres = PostgresOptions(
        surfaces=TableFilter.of(place.kept_tables) if place.kept_tables is not None else None,
        keep_columns=place.on_drop.columns == "keep",
        drop_tables=place.on_drop.tables == "drop",
        synchronous_commit=place.synchronous_commit,
    )
    types = place.types
    if isinstance(place, TimescaleDestination):
        options = HypertableOptions(
            hypertables=TableFilter.of(place.hypertables),
            history=TableFilter.of(place.history) if place.history else None,
            chunk_interval=place.chunk_interval,
            compress_after=place.compress_after,
        )
        return TimescaleSink(name, conninfo, types.profile, types.columns, options, postgres)
    return PostgresSink(name, conninfo, types.profile, types.columns, postgres)


def _clickhouse(name: str, place: ClickHouseDestination, address: Address) -> Sink:
    cluster, types = place.cluster, place.types
    options = ClickHouseOptions(
        state_database=place.state_database,
        prefix=place.prefix,
        fast=TableFilter.of(place.fast_tables) if place.fast_tables is not None else None,
        keep_columns=place.on_drop.columns == "keep",
        drop_tables=place.on_drop.tables == "drop",
        cluster=Cluster(**cluster.model_dump()) if cluster is not None else None,
        settings=place.settings,
    )
    return ClickHouseSink(name, address, types.profile, types.columns, options)
