"""The usual names, several registries side by side, and an endpoint that can be stopped."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest

from cdc_pipeline.errors import ConfigurationError, LaneLost
from cdc_pipeline.observability.metrics import Metrics


def filled() -> Metrics:
    metrics = Metrics()
    metrics.processed("warehouse", "shop.orders", 5)
    metrics.parked("warehouse", "VALUE_OUT_OF_RANGE", 2)
    metrics.failed(LaneLost("gone"))
    metrics.lane("warehouse", "node1", lag=1.5, rate=1000.0, backlog=4096)
    return metrics


def test_exactly_the_usual_names_and_labels() -> None:
    """What dashboards ask for is there under its name, and nothing else is."""
    lines = [line for line in filled().text().splitlines() if not line.startswith("#")]
    assert {re.sub(r" \S+$", "", line) for line in lines} == {
        'cdc_events_processed_total{destination="warehouse",table="shop.orders"}',
        'cdc_replication_lag_seconds{destination="warehouse",shard="node1"}',
        'cdc_events_per_second{destination="warehouse",shard="node1"}',
        'cdc_backlog_depth{destination="warehouse",shard="node1"}',
        'cdc_errors_total{kind="LaneLost"}',
        'events_dlq_total{destination="warehouse",reason="VALUE_OUT_OF_RANGE"}',
        "cdc_pipeline_uptime_seconds",
    }
    assert 'cdc_events_processed_total{destination="warehouse",table="shop.orders"} 5.0' in lines


def test_what_is_not_known_stays() -> None:
    """A lane's gauges are set one by one."""
    metrics = filled()
    metrics.lane("warehouse", "node1", backlog=0)
    assert 'cdc_replication_lag_seconds{destination="warehouse",shard="node1"} 1.5' in metrics.text()
    assert 'cdc_backlog_depth{destination="warehouse",shard="node1"} 0.0' in metrics.text()


def test_the_cdc_space() -> None:
    """Per shard: bytes, growth, and seconds until it is full, which are infinite when it does not grow."""
    metrics = Metrics()
    metrics.space("node1", used=5, total=10, growth=None, left=None)
    metrics.space("node2", used=5, total=10, growth=2.5, left=2.0)
    metrics.moved("node1", 3)
    for line in (
        'cdc_space_used_bytes{shard="node1"} 5.0',
        'cdc_space_total_bytes{shard="node1"} 10.0',
        'cdc_space_growth_bytes_per_second{shard="node1"} 0.0',
        'cdc_space_growth_bytes_per_second{shard="node2"} 2.5',
        'cdc_space_forecast_seconds{shard="node1"} +Inf',
        'cdc_space_forecast_seconds{shard="node2"} 2.0',
        'cdc_segments_archived_total{shard="node1"} 3.0',
    ):
        assert line in metrics.text().splitlines()


def test_two_registries_do_not_meet() -> None:
    """Every `Metrics` counts for itself."""
    filled()
    assert "shop.orders" not in Metrics().text()


def test_the_endpoint_answers_until_it_is_stopped() -> None:
    """Scraped over HTTP on a free port; after the end the port refuses."""
    with filled().serve(0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            assert b"cdc_backlog_depth" in response.read()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_a_port_in_use_is_one_sentence() -> None:
    """The message names the key and the address."""
    with (
        Metrics().serve(0) as server,
        pytest.raises(ConfigurationError, match=rf"metrics\.port: expected .* 127\.0\.0\.1:{server.port}"),
    ):
        Metrics().serve(server.port)
