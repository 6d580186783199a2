"""Prometheus metrics under the usual names, on a port when asked for."""

from __future__ import annotations

import math
import time
from threading import Thread
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from cdc_pipeline.errors import ConfigurationError


class Metrics:
    """The metrics of one process, in a registry of their own.

    `lag` in seconds between the newest change of the log and the newest applied; `backlog` in bytes of durable log that
    a lane has not passed; `errors` by class name.
    """

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # else a `…_created` beside each
        self.registry = CollectorRegistry()
        lane = ("destination", "shard")
        self.events = Counter(
            "cdc_events_processed_total", "Changes applied or parked", ("destination", "table"), registry=self.registry
        )
        self.lag = Gauge(
            "cdc_replication_lag_seconds", "Age of the newest applied change", lane, registry=self.registry
        )
        self.rate = Gauge("cdc_events_per_second", "Changes per second, last batch", lane, registry=self.registry)
        self.backlog = Gauge("cdc_backlog_depth", "Bytes of durable log not passed", lane, registry=self.registry)
        self.waiting = Gauge(
            "cdc_lane_waiting", "1 while a lane waits for its destination", lane, registry=self.registry
        )
        self.errors = Counter("cdc_errors_total", "Errors by class", ("kind",), registry=self.registry)
        self.dead_letters = Counter(
            "events_dlq_total", "Changes parked as dead letters", ("reason", "destination"), registry=self.registry
        )
        shard = ("shard",)
        self.space_used = Gauge(
            "cdc_space_used_bytes", "Bytes of every file below cdc_raw", shard, registry=self.registry
        )
        self.space_total = Gauge("cdc_space_total_bytes", "cdc_total_space of the node", shard, registry=self.registry)
        self.space_growth = Gauge(
            "cdc_space_growth_bytes_per_second", "Bytes that come and stay", shard, registry=self.registry
        )
        self.space_left = Gauge(
            "cdc_space_forecast_seconds",
            "Seconds until the CDC space is full; +Inf: it does not grow",
            shard,
            registry=self.registry,
        )
        self.archived = Counter(
            "cdc_segments_archived_total", "Segments moved out of cdc_raw", shard, registry=self.registry
        )
        started = time.monotonic()
        uptime = Gauge("cdc_pipeline_uptime_seconds", "Seconds since the process began", registry=self.registry)
        uptime.set_function(lambda: time.monotonic() - started)

    def processed(self, destination: str, table: str, changes: int) -> None:
        """Count changes of one table that a destination has committed."""
        self.events.labels(destination, table).inc(changes)

    def parked(self, destination: str, reason: str, changes: int = 1) -> None:
        """Count dead letters of one `FailureReason`."""
        self.dead_letters.labels(reason, destination).inc(changes)

    def failed(self, error: BaseException) -> None:
        """Count an error by its class."""
        self.errors.labels(type(error).__name__).inc()

    def lane(
        self,
        destination: str,
        shard: str,
        *,
        lag: float | None = None,
        rate: float | None = None,
        backlog: int | None = None,
    ) -> None:
        """Set what is known now about one lane: lag in seconds, rate in changes per second, backlog in bytes."""
        for gauge, value in ((self.lag, lag), (self.rate, rate), (self.backlog, backlog)):
            if value is not None:
                gauge.labels(destination, shard).set(value)

    def waits(self, destination: str, shard: str, waiting: bool) -> None:
        """Say whether a lane waits for its destination."""
        self.waiting.labels(destination, shard).set(waiting)

    def space(self, shard: str, *, used: int, total: int, growth: float | None, left: float | None) -> None:
        """Set what is known now about a node's CDC space: bytes, bytes, bytes per second, seconds until it is full."""
        self.space_used.labels(shard).set(used)
        self.space_total.labels(shard).set(total)
        self.space_growth.labels(shard).set(growth or 0.0)
        self.space_left.labels(shard).set(math.inf if left is None else left)

    def moved(self, shard: str, segments: int) -> None:
        """Count segments that an archive took."""
        self.archived.labels(shard).inc(segments)

    def text(self) -> str:
        """All metrics in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry).decode()

    def serve(self, port: int, host: str = "127.0.0.1") -> MetricsServer:
        """Answer on http://host:port/metrics until stopped; port 0 takes a free one.

        Raises `ConfigurationError` when the address cannot be had.
        """
        try:
            server, thread = prometheus_client.start_http_server(port, host, self.registry)
        except OSError as error:
            message = f"expected a free address for {host}:{port}, found: {error.strerror}"
            raise ConfigurationError(message, key="metrics.port") from None
        return MetricsServer(server, thread)


class MetricsServer:
    """A running endpoint, a context manager; `port` is the one it really has."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server, self._thread = server, thread
        self.port: int = server.server_port

    def stop(self) -> None:
        """End within a second, its thread included."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
