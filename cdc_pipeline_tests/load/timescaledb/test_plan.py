"""What a table becomes in TimescaleDB, and the SQL that goes out, on a PostgreSQL without the extension."""

from __future__ import annotations

import datetime as dt
import uuid
from datetime import timedelta

import psycopg
import pytest

from cdc_pipeline.load.postgres import migrate
from cdc_pipeline.load.postgres.ddl import PRELUDE
from cdc_pipeline.load.postgres.merge import merge_rows, staging
from cdc_pipeline.load.timescaledb import HypertableOptions, TimescaleSink
from cdc_pipeline.load.timescaledb.ddl import FUNCTIONS, interval
from cdc_pipeline.load.timescaledb.plan import HypertablePlan
from cdc_pipeline.schema import Table, TableFilter
from cdc_pipeline.transform import MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline_tests.load.changes import table

TIMEUUID, MILLIS = uuid.UUID("d2177dd0-eaa2-11de-a572-001b779c76e3"), 1_700_000_000_123


def sink(profile: str = "native", options: HypertableOptions | None = None) -> TimescaleSink:
    return TimescaleSink("lake", "host=nowhere", profile, {"ks.t.c": "text"}, options)


def plan(of: Table, profile: str = "native", rules: MaskingRules | None = None) -> HypertablePlan:
    masks = TableMasks(MaskingPolicy(rules or MaskingRules(pii_fields=(), phi_fields=()), None), of)
    found = sink(profile).table_plan(of, masks)
    assert isinstance(found, HypertablePlan)
    return found


@pytest.mark.parametrize(
    ("key", "clustering", "profile", "name", "row_key"),
    [
        (["int"], ["int", "timestamp", "date"], "native", '"k:c1"', '"k:p0","r:ck","k:c1"'),
        (["int"], ["int", "timestamp", "date"], "exact", '"r:at"', '"k:p0","r:ck","r:at"'),
        (["int"], ["timeuuid", "date"], "native", '"k:c1"', '"k:p0","r:ck","k:c1"'),
        (["timestamp"], ["timeuuid"], "native", '"r:at"', '"k:p0","r:ck","r:at"'),
        (["int", "date"], ["uuid"], "native", '"k:p1"', '"k:p0","k:p1","r:ck"'),
        (["timestamp"], [], "native", '"k:p0"', '"k:p0"'),
        (["timestamp"], [], "exact", '"r:at"', '"k:p0","r:at"'),
        (["double"], ["timestamp"], "native", '"k:c0"', '"b:p0","r:ck","k:c0"'),
        (["timeuuid"], ["int"], "native", None, '"k:p0","r:ck"'),
        (["int"], [], "exact", None, '"k:p0"'),
    ],
)
def test_the_time_of_a_key(key: list[str], clustering: list[str], profile: str, name: str | None, row_key: str) -> None:
    """The first timestamp or date in the clustering, else its first timeuuid, else a date of the partition key."""
    of = table(
        "u",
        key=[(f"p{at}", t) for at, t in enumerate(key)],
        clustering=[(f"c{at}", t) for at, t in enumerate(clustering)],
    )
    found = plan(of, profile)
    assert (found.time and found.time.name) == name
    assert ",".join(found.row_key) == row_key
    assert any("no hypertable" in warning for warning in found.warnings) == (name is None)


def test_a_masked_or_overridden_column_is_no_time() -> None:
    """A masked column is text, and so is an overridden one: the next of the key is taken, or none."""
    rules = MaskingRules(pii_fields=("c",), phi_fields=())
    of = table("u", clustering=[("c", "timestamp"), ("d", "date")])
    masked = plan(of, rules=rules)
    assert masked.time is not None
    assert masked.time.name == '"k:c1"'
    assert plan(table("u", clustering=[("c", "timestamp")]), rules=rules).time is None
    assert plan(table("t", clustering=[("c", "timestamp")])).time is None


def test_the_plan_shows_the_ddl() -> None:
    """Hypertable, chunks, compression and history stand in the plan, and why a table is none."""
    options = HypertableOptions(
        history=TableFilter(("ks.t",)), chunk_interval=timedelta(hours=12), compress_after=timedelta(days=30)
    )
    of = table("t", clustering=[("at", "timestamp")])
    masks = TableMasks(MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None), of)
    statements = sink(options=options).summary(of, masks).ddl
    text = ";\n".join(statements)
    assert "SELECT create_hypertable('cdc.\"ks.t\"', by_range('k:c0', INTERVAL '43200 seconds')" in text
    assert text.index("create_hypertable") < text.index("UNIQUE INDEX")
    assert """timescaledb.compress_segmentby = '"k:p0"', timescaledb.compress_orderby = '"r:ck", "k:c0"'""" in text
    assert "add_compression_policy('cdc.\"ks.t\"', compress_after => INTERVAL '30 days')" in text
    assert 'CREATE OR REPLACE VIEW "ks"."t$history"' in text
    plain = table("u")
    masks = TableMasks(MaskingPolicy(MaskingRules(pii_fields=(), phi_fields=()), None), plain)
    summary = sink().summary(plain, masks)
    assert "hypertable" not in ";".join(summary.ddl)
    assert summary.warnings == (
        "no hypertable: no timestamp, date or timeuuid column in its primary key that is not masked",
    )


def test_intervals() -> None:
    """Whole days stay days, which are not always 24 hours."""
    assert interval(timedelta(days=7)) == "INTERVAL '7 days'"
    assert interval(timedelta(hours=36)) == "INTERVAL '129600 seconds'"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (f"cdc.time_of_millis({MILLIS})", "2023-11-14 22:13:20.123+00"),
        ("cdc.time_of_millis(-1)", "1969-12-31 23:59:59.999+00"),
        ("cdc.time_of_millis(NULL)", "0001-01-01 00:00:00+00"),
        (f"cdc.time_of_millis({-(2**63)})", "0001-01-01 00:00:00+00"),
        (f"cdc.time_of_millis({2**63 - 1})", "9999-12-31 23:59:59.999999+00"),
        ("cdc.time_of_millis(253402300799999)", "9999-12-31 23:59:59.999+00"),
        ("cdc.time_of_micros(1700000000123457)", "2023-11-14 22:13:20.123457+00"),
        ("cdc.time_of_micros(-1)", "1969-12-31 23:59:59.999999+00"),
        (f"cdc.time_of_days({-(2**31)})", "0001-01-01 00:00:00+00"),
        ("cdc.time_of_days(19675)", "2023-11-14 00:00:00+00"),
        ("cdc.time_of_days(NULL)", "0001-01-01 00:00:00+00"),
        (f"cdc.time_of_timeuuid('{TIMEUUID}')", "2009-12-17 00:26:29.805+00"),
        ("cdc.time_of_timeuuid('00000000-0000-1000-8000-000000000000')", "1582-10-15 00:00:00+00"),
        ("cdc.time_of_timeuuid('ffffffff-ffff-1fff-bfff-ffffffffffff')", "5236-03-31 21:21:00.684697+00"),
        ("cdc.time_of_timeuuid(NULL)", "0001-01-01 00:00:00+00"),
    ],
)
def test_derived_times(pg_database: str, call: str, expected: str) -> None:
    """Each is exact, never NULL, and at an end of time for what lies beyond."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(PRELUDE.encode())
        connection.execute(FUNCTIONS.encode())
        connection.execute("SET timezone = 'America/New_York'")
        assert connection.execute(f"SELECT ({call} AT TIME ZONE 'UTC')::text || '+00'".encode()).fetchone() == (
            expected,
        )


def test_a_timeuuid_keeps_its_microseconds(pg_database: str) -> None:
    """The time is the one that Cassandra's toTimestamp gives, to the µs."""
    micros = (TIMEUUID.time - 0x01B21DD213814000) // 10
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(PRELUDE.encode())
        connection.execute(FUNCTIONS.encode())
        row = connection.execute("SELECT cdc.time_of_timeuuid(%s)", (TIMEUUID,)).fetchone()
    assert row == (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + timedelta(microseconds=micros),)


@pytest.mark.parametrize("profile", ["native", "exact"])
def test_the_merge_names_the_time(pg_database: str, profile: str) -> None:
    """DDL without the hypertable itself, staging and the conflict target work on PostgreSQL: a row is there once."""
    of = table("t", clustering=[("at", "timestamp")])
    planned = plan(of, profile)
    kept = [
        s for s in sink(profile).statements(planned) if not s.startswith(("SELECT create_hyper", "SELECT set_chunk"))
    ]
    with psycopg.connect(pg_database, autocommit=True) as connection, connection.transaction():
        migrate.begin(connection)
        connection.execute(FUNCTIONS.encode())
        for statement in kept:
            connection.execute(statement.encode())
        columns = ['"k:p0"', '"k:c0"', '"r:ck"', '"r:lw"', '"r:lx"', '"r:dw"']
        connection.execute(staging(planned.state, "sent").encode())
        moment = "now()" if profile == "native" else "0"
        connection.execute(f"INSERT INTO sent ({', '.join(columns)}) VALUES (1, {moment}, 'a', 5, NULL, NULL)".encode())
        merged = merge_rows(planned, "sent", columns, static=False, ledger=True)
        assert f"ON CONFLICT ({', '.join(planned.row_key)})" in merged
        for _ in range(2):
            connection.execute(merged.encode())
        row = connection.execute(f"SELECT count(*), count({planned.row_key[-1]}) FROM {planned.state}".encode())
        assert row.fetchone() == (1, 1)
