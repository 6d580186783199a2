"""TimescaleDB keeps the contract, and what is its own, on a real server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.load.timescaledb import HypertableOptions, TimescaleSink
from cdc_pipeline.schema import TableFilter
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.contract import SinkContract
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.histories import NOW
from cdc_pipeline_tests.load.postgres.test_sink import Database
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.load.timescaledb.server.conftest import compress_all
from cdc_pipeline_tests.types.values import int_bytes

Prepared = Callable[..., Destination]
COMPRESSED = HypertableOptions(compress_after=timedelta(days=7))
DAY = 86_400_000


def at(millis: int) -> bytes:
    return millis.to_bytes(8, "big", signed=True)


READINGS = table("readings", key=[("sensor", "int")], clustering=[("at", "timestamp")], regular=[("v", "int")])


def reading(sensor: int, millis: int, value: int, ts: int) -> Change:
    return Change((int_bytes(sensor),), (at(millis),), (Cell("v", ts, int_bytes(value)),), live=ts)


def hypertables(there: Destination) -> list[str]:
    return [
        name for (name,) in there.query("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
    ]


class TestTimescale(SinkContract):
    """The contract."""

    @pytest.fixture
    def place(self, ts_database: str) -> Database:
        """A fresh database."""
        return Database(ts_database, TimescaleSink)


class TestTables(SinkContract):
    """The contract, where users get tables."""

    @pytest.fixture
    def place(self, ts_database: str) -> Database:
        """A fresh database."""
        return Database(
            ts_database, lambda *a: TimescaleSink(*a, postgres=PostgresOptions(surfaces=TableFilter(("*",))))
        )


@pytest.mark.parametrize("profile", ["native", "exact"])
@pytest.mark.parametrize(
    ("key", "clustering", "value"),
    [
        ([("pk", "int")], [("c", "int"), ("at", "timestamp")], (int_bytes(1), at(5 * DAY))),
        ([("pk", "int")], [("at", "date desc")], (bytes([128, 0, 1, 0]),)),
        ([("pk", "int")], [("id", "timeuuid")], (bytes.fromhex("d2177dd0eaa211de a572001b779c76e3"),)),
        ([("pk", "int"), ("day", "date")], [("c", "int")], (int_bytes(1),)),
        ([("day", "timestamp")], [], ()),
    ],
    ids=["timestamp", "date", "timeuuid", "bucket", "only key"],
)
def test_a_time_in_the_key(
    destination: Prepared,
    profile: str,
    key: list[tuple[str, str]],
    clustering: list[tuple[str, str]],
    value: tuple[bytes, ...],
) -> None:
    """Each makes a hypertable that merges, in plain and compressed chunks, and is deleted from by range."""
    of = table("t", key=key, clustering=clustering, regular=[("v", "int")])
    there = destination(of, profile=profile, options=COMPRESSED)
    assert hypertables(there) == ["ks.t"]
    parts = {"int": int_bytes(1), "date": bytes([128, 0, 1, 0]), "timestamp": at(DAY)}
    partition = tuple(parts[kind] for _, kind in key)
    for ts, expected in ((5, 5), (4, 5), (6, 6)):
        change = Change(partition, value, (Cell("v", ts, int_bytes(ts)),), live=ts)
        assert there.load(batch(of, [change])) == []
        assert there.query("SELECT v FROM ks.t") == [(expected,)]
        assert compress_all(there) == 1
    deletion = Change(partition, kind=RowKind.PARTITION, deleted=6)
    there.load(batch(of, [deletion]))
    assert there.query("SELECT v FROM ks.t") == []
    there.load(batch(of, [Change(partition, value, (Cell("v", 9, int_bytes(9)),), live=9)]))
    assert there.query("SELECT v FROM ks.t") == [(9,)]


def test_no_time_no_hypertable(destination: Prepared) -> None:
    """A table without a time in its key, or that the patterns leave out, is a plain one."""
    plain = table("plain", clustering=[("c", "int")])
    options = HypertableOptions(hypertables=TableFilter(("!*.readings",)))
    there = destination(plain, READINGS, options=options)
    assert hypertables(there) == []
    there.load(batch(READINGS, [reading(1, DAY, 1, 1)]))
    assert there.query("SELECT v FROM ks.readings") == [(1,)]


def test_times_at_the_ends(destination: Prepared) -> None:
    """What a hypertable's time cannot be is parked with the reason; everything else arrives, to the last year."""
    there = destination(READINGS)
    end = 9_223_371_331_200_000
    values = [at(-210_866_803_200_000), at(0), at(end - 1), b"", at(end), at(-(2**62))]
    letters = there.load(batch(READINGS, [Change((int_bytes(1),), (value,), live=1) for value in values]))
    assert there.query("SELECT count(*) FROM ks.readings") == [(3,)]
    assert [letter.reason for letter in letters] == ["VALUE_OUT_OF_RANGE"] * 3
    assert [letter.message.rpartition(": ")[2] for letter in letters] == [
        "an empty value, which a hypertable's time cannot be",
        "a time after 294246, where TimescaleDB ends",
        "a timestamp outside of 4713 BC to 294276",
    ]


def test_exact_parks_no_time(destination: Prepared) -> None:
    """In profile exact the time beside the key takes everything, in chunks at the ends of time."""
    there = destination(READINGS, profile="exact", options=COMPRESSED)
    values = [at(-(2**63)), at(0), at(1_700_000_000_000), b"", at(2**63 - 1), at(253_402_300_800_000)]
    changes = [Change((int_bytes(1),), (value,), (Cell("v", 5, int_bytes(5)),), live=5) for value in values]
    for _ in range(2):
        assert there.load(batch(READINGS, changes)) == []
        assert compress_all(there) == 4
    assert there.compare(READINGS, reference(READINGS, changes).select(NOW), NOW).holds
    assert there.query('SELECT "r:at"::text FROM cdc."ks.readings" WHERE "k:c0" = 1700000000000') == [
        ("2023-11-14 22:13:20+00",)
    ]


def test_ranges_over_compressed_chunks(destination: Prepared) -> None:
    """A range over many compressed chunks takes its rows, and only the batches with those rows are unpacked."""
    there = destination(READINGS, options=COMPRESSED)
    changes = [reading(sensor, day * 7 * DAY, 1, 5) for sensor in range(4) for day in range(20)]
    there.load(batch(READINGS, changes))
    assert compress_all(there) == 20
    bounds = (Bound((at(3 * 7 * DAY),), True), Bound((at(6 * 7 * DAY),), False))
    gone = Change((int_bytes(2),), kind=RowKind.RANGE, deleted=5, bounds=bounds)
    there.load(batch(READINGS, [gone]))
    assert there.compare(READINGS, reference(READINGS, [*changes, gone]).select(NOW), NOW).holds
    packed = there.query("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed")
    assert packed == [(20,)]
    partial = there.query("SELECT count(*) FROM _timescaledb_catalog.chunk WHERE status & 8 <> 0")
    assert partial == [(3,)]


def test_more_tuples_than_a_statement_may_unpack(destination: Prepared, quiet_database: str) -> None:
    """TimescaleDB's limit of a statement does not stop a merge or a truncation."""
    with psycopg.connect(quiet_database, autocommit=True) as connection:
        name = connection.info.dbname
        limit = "timescaledb.max_tuples_decompressed_per_dml_transaction"
        connection.execute(f"ALTER DATABASE {name} SET {limit} = 10".encode())
    there = destination(READINGS, options=COMPRESSED)
    changes = [reading(1, n * 1000, 1, 5) for n in range(200)]
    there.load(batch(READINGS, changes))
    assert compress_all(there) == 1
    there.load(batch(READINGS, [reading(1, n * 1000, 2, 6) for n in range(200)]))
    assert there.query("SELECT count(*) FROM ks.readings WHERE v = 2") == [(200,)]
    assert compress_all(there) == 1
    there.truncate(READINGS, 7)
    assert there.query('SELECT count(*) FROM cdc."ks.readings"') == [(0,)]


def test_settings_follow_the_configuration(ts_database: str) -> None:
    """The span of chunks and the compression policy are set as they are configured, back and forth, and once."""

    def settings(options: HypertableOptions) -> tuple[object, ...]:
        with Destination(ts_database, (READINGS,), make_sink=lambda *a: TimescaleSink(*a, options)).prepare() as there:
            there.prepare()
            span = "SELECT time_interval FROM timescaledb_information.dimensions"
            job = "SELECT config->>'compress_after' FROM timescaledb_information.jobs WHERE proc_name ~ 'compression'"
            return (*there.query(span), *there.query(job))

    week, day = timedelta(days=7), timedelta(days=1)
    assert settings(HypertableOptions()) == ((week,),)
    first = settings(HypertableOptions(chunk_interval=day, compress_after=week))
    assert first == ((day,), ("7 days",))
    hours = HypertableOptions(chunk_interval=week, compress_after=timedelta(hours=36))
    assert settings(hours) == ((week,), ("36:00:00",))
    assert settings(HypertableOptions(chunk_interval=day, compress_after=week)) == first


def test_a_plain_table_is_no_hypertable_later(ts_database: str) -> None:
    """Tables that kind postgres loaded are refused in one sentence."""
    with Destination(ts_database, (READINGS,), make_sink=PostgresSink).prepare():
        pass
    with (
        Destination(ts_database, (READINGS,), make_sink=TimescaleSink) as there,
        pytest.raises(ConfigurationError, match="expected a hypertable, found it loaded as a plain table"),
    ):
        there.prepare()


def test_queries_leave_chunks_out(destination: Prepared) -> None:
    """A condition on the time column of the view reads only the chunks of that time."""
    there = destination(READINGS)
    there.load(batch(READINGS, [reading(1, week * 7 * DAY, 1, 5) for week in range(30)]))
    plan = there.query("EXPLAIN SELECT * FROM ks.readings WHERE at >= '1970-03-01' AND at < '1970-03-08'")
    assert 1 <= sum("Scan" in line and "_chunk" in line for (line,) in plan) <= 4


def test_a_column_that_comes_to_compressed_chunks(destination: Prepared) -> None:
    """A table that gains columns keeps its compressed rows, and they take cells of the new ones."""
    there = destination(READINGS, options=COMPRESSED)
    there.load(batch(READINGS, [reading(1, DAY, 1, 5)]))
    assert compress_all(there) == 1
    columns = [("v", "int"), ("w", "set<int>"), ("x", "decimal")]
    wider = table("readings", key=[("sensor", "int")], clustering=[("at", "timestamp")], regular=columns)
    wider = dataclasses.replace(wider, id=READINGS.id)
    new = destination(wider, options=COMPRESSED)
    cells = (Cell("w", 6, b"", int_bytes(3)), Cell("x", 6, bytes([0, 0, 0, 1, 7])))
    new.load(batch(wider, [Change((int_bytes(1),), (at(DAY),), cells)]))
    assert new.query("SELECT v, w, x::text FROM ks.readings") == [(1, [3], "0.7")]


def test_a_server_without_the_extension(pg_database: str) -> None:
    """PostgreSQL alone is refused in one sentence that says what to do."""
    sink = TimescaleSink("warehouse", make_conninfo(pg_database))
    with pytest.raises(
        ConfigurationError, match=r"expected a server with the extension timescaledb, found PostgreSQL \d+ without"
    ):
        sink.prepare([])
