"""Inserts over HTTP: sent in pieces, one part at the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest

from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.clickhouse.destination import address_of

ROWS = 20_001
"""More than are sent at once, and not a multiple of them."""


@pytest.fixture
def connection(ch_database: ChDatabase) -> Iterator[Connection]:
    """A connection to a server with an empty database."""
    with closing(Connection(address_of(ch_database))) as connection:
        connection.run(f"CREATE DATABASE `{ch_database.prefix}`")
        yield connection


def test_many_rows(ch_database: ChDatabase, connection: Connection) -> None:
    """Lists, texts and nulls lie where they lay, in one part."""
    table = f"`{ch_database.prefix}`.`a ``b`"
    columns = "`key` UInt64, `a list` Array(Int32), text Nullable(String)"
    connection.run(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY key")
    rows = [(n, list(range(n % 4)), None if n % 3 == 0 else f"text {n}") for n in range(ROWS)]
    keys, lists, texts = map(list, zip(*rows, strict=True))
    data = pa.table(
        {"key": pa.array(keys, pa.uint64()), "a list": pa.array(lists, pa.list_(pa.int32())), "text": texts}
    )
    connection.insert(table, data.slice(1))
    assert list(connection.rows(f"SELECT * FROM {table} ORDER BY key")) == rows[1:]
    parts = f"SELECT count() FROM system.parts WHERE active AND database = '{ch_database.prefix}' AND table = 'a `b'"
    assert connection.rows(parts) == [(1,)]


def test_many_names(ch_database: ChDatabase, connection: Connection) -> None:
    """The names of a wide table's columns are longer than a URL may be."""
    table = f"`{ch_database.prefix}`.wide"
    names = [f"{'a name that is long ' * 8}{n}" for n in range(700)]
    connection.run(f"CREATE TABLE {table} ({', '.join(f'`{name}` Int64' for name in names)}) ENGINE = Memory")
    connection.insert(table, pa.table({name: [n] for n, name in enumerate(names)}))
    assert connection.rows(f"SELECT * FROM {table}") == [tuple(range(700))]
