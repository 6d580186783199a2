"""What cdc.yaml and the environment give, and the sentence for what they must not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from cdc_pipeline.config import (
    CassandraSettings,
    ClickHouseDestination,
    ClickHouseSettings,
    ClusterSchema,
    FileSchema,
    KeyFileEncryption,
    KeystoreEncryption,
    PostgresDestination,
    PostgresSettings,
    Settings,
    TimescaleSettings,
    load_config,
)
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline_tests.config.conftest import MINIMAL

Load = Callable[[str], Settings]

FULL = """
source:
  shards:
    node1: {directory: data/cdc_raw, cdc_total_space: 8GiB, cdc_block_writes: false}
  schema: {file: data/schema.json, history: data/schema_history}
  encryption: {keystore: conf/cassandra.jceks, store_type: JCEKS, password: {env: KEYSTORE_PASSWORD}}
  tables: ["ecommerce.*", "!ecommerce.audit_log"]
  archive: {directory: data/archive, retention: 12h}
  watch: {mode: polling, interval: 0.5}
  space: {share: 0.5, forecast: 30m}
destinations:
  warehouse:
    kind: postgres
    embedded: true
    directory: data/postgres
    types: {profile: exact, columns: {"ecommerce.products.price": "numeric(12,2)"}}
  analytics: {kind: clickhouse, embedded: true, directory: data/clickhouse}
  series: {kind: timescaledb, dsn: "postgresql://loader:geheim@ts.example/metrics"}
masking: {rules: masking.yaml, keys: {file: keys.json}, unclassified: deny}
batch: {rows: 500}
retry: {attempts: 3}
metrics: {port: 9100}
"""


def warehouse(settings: Settings) -> PostgresDestination:
    destination = settings.destinations["warehouse"]
    assert isinstance(destination, PostgresDestination)
    return destination


def test_everything_that_may_be_said(load: Load, tmp_path: Path) -> None:
    """A file with every section gives every value, paths counted from the file's folder."""
    (tmp_path / "masking.yaml").write_text("rules: []")
    settings = load(FULL)
    source = settings.source
    assert source.shards["node1"].directory == tmp_path / "data/cdc_raw"
    assert isinstance(source.schema_source, FileSchema)
    assert source.schema_source.history == tmp_path / "data/schema_history"
    assert isinstance(source.encryption, KeystoreEncryption)
    assert source.encryption.keystore == tmp_path / "conf/cassandra.jceks"
    assert source.archive is not None
    assert source.archive.retention == timedelta(hours=12)
    assert source.shards["node1"].cdc_total_space == 8 * 2**30
    assert source.shards["node1"].cdc_block_writes is False
    assert (source.watch.mode, source.watch.interval) == ("polling", 0.5)
    assert (source.space.share, source.space.forecast) == (0.5, timedelta(minutes=30))
    assert warehouse(settings).directory == tmp_path / "data/postgres"
    assert warehouse(settings).types.columns == {"ecommerce.products.price": "numeric(12,2)"}
    assert isinstance(settings.destinations["analytics"], ClickHouseDestination)
    assert settings.masking.rules == tmp_path / "masking.yaml"
    assert settings.masking.keys is not None
    assert settings.masking.keys.file == tmp_path / "keys.json"
    assert settings.batch.rows == 500
    assert settings.metrics is not None
    assert settings.metrics.host == "127.0.0.1"


def test_what_need_not_be_said(load: Load) -> None:
    """Without the optional sections the documented defaults hold."""
    settings = load(MINIMAL)
    source = settings.source
    assert (source.tables, source.archive, source.encryption) == (None, None, None)
    assert (source.shards["node1"].cdc_total_space, source.shards["node1"].cdc_block_writes) == (None, None)
    assert (source.watch.mode, source.space.share) == ("auto", 0.75)
    assert settings.masking.unclassified == "review"
    assert (settings.masking.rules, settings.masking.keys) == (None, None)
    assert (settings.batch.rows, settings.retry.attempts, settings.metrics) == (20_000, 8, None)
    assert warehouse(settings).types.profile == "native"


def test_settings_are_frozen(load: Load) -> None:
    """Nobody changes a setting after it was checked."""
    with pytest.raises(ValidationError, match="frozen"):
        load(MINIMAL).batch.rows = 1
    with pytest.raises(ValidationError, match="frozen"):
        PostgresSettings().port = 1


def test_nothing_prints_a_secret(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor the redacted settings hold a password; the name of its variable stays."""
    (tmp_path / "masking.yaml").write_text("")
    monkeypatch.setenv("KEYSTORE_PASSWORD", "geheim")
    settings = load(FULL)
    redacted = settings.redacted()
    assert "geheim" not in repr(settings) + str(settings) + json.dumps(redacted)
    assert redacted["source"]["encryption"]["password"] == {"env": "KEYSTORE_PASSWORD"}
    assert redacted["destinations"]["series"]["dsn"] == "**********"
    assert redacted["source"]["archive"]["retention"] == "12h"
    assert redacted["source"]["schema"]["file"] == str(tmp_path / "data/schema.json")


def test_a_secret_of_the_environment_is_looked_up_when_needed(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is not set is no matter until somebody asks; then file, key and variable are named."""
    settings = load(MINIMAL.replace("password: geheim", "password: {env: WAREHOUSE_PASSWORD}"))
    with pytest.raises(ConfigurationError) as caught:
        warehouse(settings).conninfo()
    assert str(caught.value) == (
        f"{tmp_path / 'cdc.yaml'}: destinations.warehouse.password: "
        "expected the secret in the environment variable WAREHOUSE_PASSWORD, found it not set"
    )
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "geheim")
    assert "password='geheim'" in warehouse(settings).conninfo()


def test_the_key_without_a_keystore_and_the_schema_of_a_cluster(load: Load, tmp_path: Path) -> None:
    """The other forms of `encryption` and `schema`."""
    text = MINIMAL.replace("{file: schema.json}", "{contact_points: [10.0.0.1], username: u, password: p}")
    source = load(text.replace("destinations:", "  encryption: {key: {file: key.hex}}\ndestinations:")).source
    assert isinstance(source.encryption, KeyFileEncryption)
    assert source.encryption.key.file == tmp_path / "key.hex"
    assert isinstance(source.schema_source, ClusterSchema)
    assert source.schema_source.contact_points == ("10.0.0.1",)
    assert source.schema_source.port == 9042


# -- which file -------------------------------------------------------------------------------------------------------


def test_the_file_of_the_environment_and_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path $CDC_CONFIG is read, else ./cdc.yaml."""
    Path("cdc.yaml").write_text(MINIMAL)
    assert warehouse(load_config()).host == "db.example"
    other = tmp_path / "other.yaml"
    other.write_text(MINIMAL.replace("db.example", "other.example"))
    monkeypatch.setenv("CDC_CONFIG", str(other))
    assert warehouse(load_config()).host == "other.example"
    monkeypatch.setenv("CDC_CONFIG", "missing.yaml")
    with pytest.raises(ConfigurationError, match=r"^missing\.yaml: expected a YAML file, found none$"):
        load_config()


def test_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any file the sections come as JSON, and a destination from its own variables."""
    with pytest.raises(
        ConfigurationError, match=r"^expected a configuration: --config FILE, CDC_CONFIG or \./cdc\.yaml, found none$"
    ):
        load_config()
    monkeypatch.setenv("CDC_SOURCE", '{"shards": {"n1": {"directory": "raw"}}, "schema": {"file": "s.json"}}')
    monkeypatch.setenv("CDC_POSTGRES_HOST", "db.example")
    settings = load_config()
    assert settings.source.shards["n1"].directory == Path.cwd() / "raw"
    destination = settings.destinations["postgres"]
    assert isinstance(destination, PostgresDestination)
    assert destination.host == "db.example"
    monkeypatch.setenv("CDC_SOURCE", "{")
    with pytest.raises(ConfigurationError, match=r"^environment: CDC_SOURCE: expected a mapping, found a text"):
        load_config()


# -- the environment wins ---------------------------------------------------------------------------------------------


def test_the_environment_overrides_every_destination_of_its_kind(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, port and password of the environment win; embedded ones and other kinds stay as they are."""
    monkeypatch.setenv("CDC_POSTGRES_HOST", "new.example")
    monkeypatch.setenv("CDC_POSTGRES_PORT", "6000")
    monkeypatch.setenv("CDC_POSTGRES_PASSWORD", "neu")
    monkeypatch.setenv("CDC_POSTGRES_USER", "")
    more = "  here: {kind: postgres, embedded: true, directory: pg}\n  ts: {kind: timescaledb, host: ts.example}\n"
    settings = load(MINIMAL + more)
    conninfo = warehouse(settings).conninfo()
    assert "host='new.example' port='6000' user='loader' password='neu'" in conninfo
    here, series = settings.destinations["here"], settings.destinations["ts"]
    assert here.host is None
    assert series.host == "ts.example"


def test_an_address_of_the_environment_replaces_the_other_kind_of_address(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dsn replaces the file's host, and a host the file's dsn."""
    monkeypatch.setenv("CDC_POSTGRES_DSN", "host=new.example")
    assert warehouse(load(MINIMAL)).conninfo() == "host=new.example user='loader' password='geheim'"
    monkeypatch.delenv("CDC_POSTGRES_DSN")
    monkeypatch.setenv("CDC_POSTGRES_HOST", "new.example")
    assert warehouse(load(MINIMAL.replace("host: db.example", 'dsn: "host=old"'))).host == "new.example"


def test_the_environment_overrides_the_cluster(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contact points come with commas; a schema from a file stays a file."""
    monkeypatch.setenv("CDC_CASSANDRA_CONTACT_POINTS", "10.0.0.1, 10.0.0.2")
    cluster = load(MINIMAL.replace("{file: schema.json}", "{contact_points: [old]}")).source.schema_source
    assert isinstance(cluster, ClusterSchema)
    assert cluster.contact_points == ("10.0.0.1", "10.0.0.2")
    assert isinstance(load(MINIMAL).source.schema_source, FileSchema)


def test_one_systems_settings_need_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loads alone, also while another one's variables are wrong."""
    monkeypatch.setenv("CDC_CLICKHOUSE_PORT", "wrong")
    monkeypatch.setenv("CDC_POSTGRES_HOST", "db.example")
    monkeypatch.setenv("CDC_TIMESCALEDB_DSN", "host=ts.example")
    monkeypatch.setenv("CDC_CASSANDRA_CONTACT_POINTS", "10.0.0.1")
    assert "host='db.example'" in PostgresSettings().conninfo()
    assert TimescaleSettings().conninfo() == "host=ts.example"
    assert CassandraSettings().contact_points == ("10.0.0.1",)
    monkeypatch.setenv("CDC_CLICKHOUSE_PORT", "8443")
    monkeypatch.setenv("CDC_CLICKHOUSE_SECURE", "true")
    assert (ClickHouseSettings().port, ClickHouseSettings().secure) == (8443, True)


def test_a_wrong_variable_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the variable, for it is not in the file."""
    monkeypatch.setenv("CDC_POSTGRES_PORT", "abc")
    with pytest.raises(ConfigurationError, match=r"^environment: CDC_POSTGRES_PORT: .* number, found abc"):
        load(MINIMAL)


# -- what is refused --------------------------------------------------------------------------------------------------

SOURCE = "source: {shards: {n1: {directory: d}}, schema: {file: s}}\n"
CLICKHOUSE = SOURCE + "destinations: {lake: {kind: clickhouse, host: h, "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected the sections source and destinations, found an empty file"),
        ("- a\n", "expected the sections source and destinations, found a list"),
        ("a: [1\nb: 2\n", "line 2, column 2: expected YAML, found: expected ',' or ']', but got ':'"),
        ("a: 1\na: 2\n", "line 2, column 1: expected YAML, found: the key a a second time"),
        ("a: \x07\n", "expected YAML, found a character that is not allowed in it"),
        (MINIMAL + "masks: {}\n", "masks: unknown key, expected one of source, destinations, masking, batch, retry, "
         "tombstone_retention, metrics; did you mean masking?"),
        (MINIMAL.replace("host:", "hots:"), "destinations.warehouse.hots: unknown key, expected one of *"
         "; did you mean host?"),
        (MINIMAL.replace("host:", "zzzz:"), "destinations.warehouse.zzzz: unknown key, expected one of *"),
        (MINIMAL.replace("file: schema", "fil: schema"), "source.schema.fil: unknown key, expected one of file, "
         "history; did you mean file?"),
        (MINIMAL.replace("postgres,", "mysql,"), "destinations.warehouse.kind: expected one of postgres, clickhouse, "
         "timescaledb, found mysql"),
        (MINIMAL.replace("kind: postgres,", ""), "destinations.warehouse.kind: expected kind: postgres, clickhouse or "
         "timescaledb, found none"),
        (MINIMAL.replace("host: db.example", "port: 1"), "destinations.warehouse: expected exactly one of "
         "embedded: true, host or dsn, found none"),
        (MINIMAL.replace("user:", "dsn: x, user:"), "destinations.warehouse: expected exactly one of embedded: true, "
         "host or dsn, found dsn and host"),
        (MINIMAL.replace("user:", "directory: x, user:"), "destinations.warehouse: expected directory only with "
         "embedded: true"),
        (MINIMAL.replace("host: db.example", "embedded: true"), "destinations.warehouse: expected the directory of the "
         "embedded server, found none"),
        (MINIMAL.replace("host: db.example", "embedded: true, directory: d"), "destinations.warehouse: expected no "
         "password, user with embedded: true"),
        (SOURCE + "destinations: {t: {kind: timescaledb, embedded: true, directory: d}}", "destinations.t: expected "
         "host or dsn: there is no embedded TimescaleDB"),
        (CLICKHOUSE + "prefix: 1x}}", "destinations.lake.prefix: expected letters, digits and _, no digit "
         "first, found 1x"),
        (CLICKHOUSE + "state_database: a-b}}", "destinations.lake.state_database: expected letters, digits and _, "
         "no digit first, found a-b"),
        (CLICKHOUSE + "database: x}}", "destinations.lake: expected state_database (what is ours) or prefix (of what "
         "users read), found database"),
        (CLICKHOUSE + "visibility: most}}", "destinations.lake.visibility: expected exact or fast, found most"),
        (CLICKHOUSE + "visibility_tables: ['*']}}", "destinations.lake: expected visibility_tables only with "
         "visibility: fast"),
        (CLICKHOUSE + "pace: quick}}", "destinations.lake.pace: expected a duration as 500ms, 30m, 12h or 7d"),
        (CLICKHOUSE + "batch: {rows: 0}}}", "destinations.lake.batch.rows: expected a number greater than or equal to "
         "1, found 0"),
        (CLICKHOUSE + "cluster: {replicated: false}}}", "destinations.lake.cluster.name: expected a value, found none"),
        (CLICKHOUSE + "settings: {'a b': 1}}}", "destinations.lake.settings.a b: expected lower case letters, digits "
         "and _, found a b"),
        (CLICKHOUSE + "settings: {max_threads: [1]}}}", "destinations.lake.settings.max_threads: expected a text, "
         "found a list"),
        (SOURCE + "destinations: {lake: {kind: clickhouse, embedded: true, directory: d, port: 1, cluster: {name: c}}}",
         "destinations.lake: expected no cluster, port with embedded: true"),
        (SOURCE + "destinations: {lake: {kind: clickhouse, host: h, dsn: x}}", "destinations.lake: expected exactly "
         "one of embedded: true, host or dsn, found dsn and host"),
        (MINIMAL.replace("user:", "port: many, user:"), "destinations.warehouse.port: expected a whole number, "
         "found many"),
        (MINIMAL.replace("user:", "port: 70000, user:"), "destinations.warehouse.port: expected a number less than or "
         "equal to 65535, found 70000"),
        (MINIMAL.replace("geheim", "12345"), "destinations.warehouse.password: expected a text in quotes or "
         "{env: NAME}"),
        (MINIMAL.replace("user:", "sslmode: on, user:"), "destinations.warehouse.sslmode: expected disable, allow, "
         "prefer, require, verify-ca or verify-full, found true"),
        (MINIMAL.replace("user:", "types: {profile: fast}, user:"), "destinations.warehouse.types.profile: expected "
         "native or exact, found fast"),
        (SOURCE, "destinations: expected at least one destination as name: {kind: …}"),
        (SOURCE + "destinations: []", "destinations: expected a mapping, found a list"),
        (SOURCE + "destinations: {w: postgres}", "destinations.w: expected a mapping, found a text"),
        (SOURCE + "destinations: {'a b': {kind: postgres, host: h}}", "destinations.a b: expected letters, digits, "
         "_ . or - only, found a b"),
        (MINIMAL.replace("shards: {node1: {directory: cdc_raw}}", "shards: {}"), "source.shards: expected at least one "
         "shard as name: {directory: …}"),
        (MINIMAL.replace("node1", "no/de"), "source.shards.no/de: expected letters, digits, _ . or - only, "
         "found no/de"),
        (MINIMAL.replace("{node1: {directory: cdc_raw}}", "{a: {directory: d}, b: {directory: d}}"), "source: expected "
         "another directory for every shard, found one twice"),
        (MINIMAL.replace("{directory: cdc_raw}", "{}"), "source.shards.node1.directory: expected a value, found none"),
        (MINIMAL.replace("  schema: {file: schema.json}\n", ""), "source.schema: expected a value, found none"),
        (MINIMAL.replace("{file: schema.json}", "{contact_points: []}"), "source.schema.contact_points: expected at "
         "least one host"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  tables: [orders]"), "source.tables: expected "
         "keyspace.table, * as a wildcard, ! in front to exclude"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  tables: ks.t"), "source.tables: expected a list, "
         "found ks.t"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  archive: {directory: a, retention: soon}"),
         "source.archive.retention: expected a duration as 500ms, 30m, 12h or 7d"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  archive: {directory: cdc_raw/archive}"),
         "source: expected an archive outside of cdc_raw, where Cassandra counts files"),
        (MINIMAL.replace("{directory: cdc_raw}", "{directory: cdc_raw, cdc_total_space: 4 GB}"),
         "source.shards.node1.cdc_total_space: expected a size as 4096MiB or 4GiB"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  watch: {mode: never}"),
         "source.watch.mode: expected auto or polling, found never"),
        (MINIMAL.replace("{file: schema.json}", "{file: s}\n  encryption: {keystore: k}"),
         "source.encryption.password: expected a value, found none"),
        (MINIMAL + "masking: {keys: {file: k, env: K}}\n", "masking.keys: expected exactly one of file and env"),
        (MINIMAL + "masking: {unclassified: maybe}\n", "masking.unclassified: expected allow, review or deny, "
         "found maybe"),
        (MINIMAL + "masking: {rules: nowhere.yaml}\n", "masking.rules: expected a file of rules, found none at *"),
        (MINIMAL + "batch: {rows: 0}\n", "batch.rows: expected a number greater than or equal to 1, found 0"),
        (MINIMAL + "metrics: {}\n", "metrics.port: expected a value, found none"),
        (MINIMAL + "metrics: {port: no}\n", "metrics.port: expected a whole number, found false"),
        (MINIMAL + "batch: {rows: x}\nretry: {wait: x}\n", "batch.rows: expected a whole number, found x (and 1 more)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(load: Load, tmp_path: Path, text: str, said: str) -> None:
    """File, key, what was expected and what was found, and never a password; `*` stands for anything."""
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    message = str(caught.value)
    begin, _, end = f"{tmp_path / 'cdc.yaml'}: {said}".partition("*")
    if "wildcard" in said:
        begin, end = f"{tmp_path / 'cdc.yaml'}: {said}", ""
    assert message.startswith(begin)
    assert message.endswith(end)
    assert "*" in said or message == begin
    assert "geheim" not in message
    assert "12345" not in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_what_is_no_readable_file_is_one_sentence(tmp_path: Path) -> None:
    """A directory, nothing, a path through a file, or bytes that are no text."""
    (tmp_path / "bytes").write_bytes(b"a: \xff\n")
    for path, said in [
        (tmp_path, "expected a YAML file, found a directory"),
        (tmp_path / "no.yaml", "expected a YAML file, found none"),
        (tmp_path / "bytes" / "x", "expected a readable file, found: Not a directory"),
        (tmp_path / "bytes", "expected UTF-8, found another byte at offset 3"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            load_config(path)
        assert str(caught.value) == f"{path}: {said}"
