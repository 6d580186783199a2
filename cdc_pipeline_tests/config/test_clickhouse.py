"""What a ClickHouse destination may be told, and where it answers then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cdc_pipeline.config import ClickHouseDestination, ClickHouseSettings, Secret, Settings
from cdc_pipeline.errors import ConfigurationError

Load = Callable[[str], Settings]

SOURCE = "source: {shards: {n1: {directory: d}}, schema: {file: s}}\n"
FULL = """
destinations:
  lake:
    kind: clickhouse
    dsn: https://loader@ch.example
    password: geheim
    ca_cert: ca.pem
    types: {profile: exact}
    visibility: fast
    visibility_tables: ["ecommerce.*", "!ecommerce.orders"]
    state_database: cdc_state
    prefix: cassandra_
    on_drop: {columns: keep, tables: drop}
    cluster: {name: main, replica: "{host}", distributed: true}
    settings: {insert_quorum: 2, async_insert: false, max_memory_usage: "8000000000"}
    pace: 500ms
    batch: {rows: 50000}
"""


def lake(settings: Settings) -> ClickHouseDestination:
    found = settings.destinations["lake"]
    assert isinstance(found, ClickHouseDestination)
    return found


def test_everything_that_may_be_said(load: Load, tmp_path: Path) -> None:
    """Every setting of the kind."""
    found = lake(load(SOURCE + FULL))
    address = ("ch.example", 8443, "loader", "geheim", True, True, str(tmp_path / "ca.pem"))
    assert found.endpoint() == address
    assert found.fast_tables == ("ecommerce.*", "!ecommerce.orders")
    assert (found.state_database, found.prefix) == ("cdc_state", "cassandra_")
    assert (found.on_drop.columns, found.on_drop.tables) == ("keep", "drop")
    assert found.cluster is not None
    assert (found.cluster.name, found.cluster.replicated, found.cluster.replica) == ("main", True, "{host}")
    assert found.cluster.distributed
    assert found.settings == {"insert_quorum": "2", "async_insert": "0", "max_memory_usage": "8000000000"}
    assert found.pace == timedelta(milliseconds=500)
    assert (found.batch.rows, found.batch.bytes) == (50_000, 2**27)


def test_what_need_not_be_said(load: Load) -> None:
    """Few, large inserts, and rows as Cassandra shows them; `batch` of all others is not ClickHouse's."""
    found = lake(load(SOURCE + "destinations: {lake: {kind: clickhouse, host: h}}\nbatch: {rows: 5}\n"))
    assert found.endpoint() == ("h", 8123, "default", "", False, True, None)
    assert (found.visibility, found.fast_tables, found.cluster, found.settings) == ("exact", None, None, {})
    assert (found.state_database, found.prefix, found.pace) == ("cdc", "", timedelta(milliseconds=500))
    assert (found.batch.rows, found.batch.bytes) == (200_000, 2**27)


def test_fast_alone_means_every_table(load: Load) -> None:
    """Patterns choose; without them all are."""
    assert lake(load(SOURCE + "destinations: {lake: {kind: clickhouse, host: h, visibility: fast}}")).fast_tables == (
        "*",
    )


def test_durations_below_a_second_print_as_they_are_given(load: Load) -> None:
    """`500ms`, not `0s`."""
    settings = load(SOURCE + "destinations: {lake: {kind: clickhouse, host: h, pace: 1500ms}}")
    assert settings.redacted()["destinations"]["lake"]["pace"] == "1500ms"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("clickhouse://h", ("h", 8123, "default", "", False)),
        ("http://u@h:1/", ("h", 1, "u", "", False)),
        ("clickhouse://u:p%40%2F@h:8443", ("h", 8443, "u", "p@/", True)),
        ("clickhouses://h", ("h", 8443, "default", "", True)),
        ("https://h:443", ("h", 443, "default", "", True)),
        ("https://u:p@[::1]", ("::1", 8443, "u", "p", True)),
    ],
)
def test_a_dsn(dsn: str, expected: tuple[object, ...]) -> None:
    """The scheme, or port 8443, says whether there is TLS."""
    assert ClickHouseSettings(dsn=Secret(dsn)).endpoint()[:5] == expected


def test_what_is_given_completes_a_dsn() -> None:
    """Fields beside a dsn win over its own."""
    found = ClickHouseSettings(dsn=Secret("http://old:pw@h:1"), username="new", password=Secret("np"), secure=True)
    assert found.endpoint()[:5] == ("h", 1, "new", "np", True)


@pytest.mark.parametrize("dsn", ["h:8123", "postgresql://u:geheim@h", "clickhouse://", "http://h:port", "http://[::1"])
def test_what_is_no_dsn(dsn: str) -> None:
    """One sentence that shows none of it."""
    with pytest.raises(ConfigurationError, match=r"^expected a dsn as clickhouse://") as caught:
        ClickHouseSettings(dsn=Secret(dsn)).endpoint()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("dsn", ["http://h/cdc", "http://h/?secure=1", "http://h#x"])
def test_a_dsn_names_a_server_only(dsn: str) -> None:
    """A database would be one too many."""
    with pytest.raises(ConfigurationError, match="expected a dsn that ends with host and port"):
        ClickHouseSettings(dsn=Secret(dsn)).endpoint()


def test_the_environment_wins(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over every ClickHouse that is not embedded."""
    monkeypatch.setenv("CDC_CLICKHOUSE_HOST", "new.example")
    monkeypatch.setenv("CDC_CLICKHOUSE_SECURE", "true")
    monkeypatch.setenv("CDC_CLICKHOUSE_PASSWORD", "neu")
    found = lake(load(SOURCE + "destinations: {lake: {kind: clickhouse, dsn: 'http://old', username: u}}"))
    assert found.endpoint()[:5] == ("new.example", 8443, "u", "neu", True)
    embedded = lake(load(SOURCE + "destinations: {lake: {kind: clickhouse, embedded: true, directory: ch}}"))
    assert embedded.host is None
