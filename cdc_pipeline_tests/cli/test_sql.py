"""`sql` on ClickHouse: the server's own words and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.clickhouse import ChDatabase


@pytest.fixture
def lake(shell: Shell, ch_database: ChDatabase) -> Shell:
    """A shell with a ClickHouse of its own."""
    lake = {
        "kind": "clickhouse",
        "host": ch_database.host,
        "port": ch_database.port,
        "username": ch_database.username,
        "password": ch_database.password,
        "prefix": ch_database.prefix,
        "state_database": f"{ch_database.prefix}cdc",
        "types": {"profile": "exact"},
    }
    shell.configure(destinations={"lake": lake})
    return shell


def test_values_are_the_servers(lake: Shell) -> None:
    """NULL is no text, and a text with any character is whole; JSON has its own types."""
    texts = "NULL AS n, 'NULL' AS t, 'a\\tb\\n\\\\N[x]' AS e"
    query = f"SELECT {texts}, nan AS f, toDecimal64(1.10, 2) AS d, [1, 2] AS l, 2 AS i"
    (row,) = lake("sql", "lake", query, "--json").records
    assert row == {"n": None, "t": "NULL", "e": "a\tb\n\\N[x]", "f": "nan", "d": 1.1, "l": [1, 2], "i": 2}
    shown = lake("sql", "lake", "SELECT NULL AS n, 'a[b]' AS t, '\\\\N' AS e; ")
    assert shown.code == 0
    assert [word in shown.out for word in ("NULL", "a[b]", "\\N", "1 rows")] == [True] * 4
    assert lake("sql", "lake", "SELECT 1 WHERE 0").out.strip().endswith("0 rows")


def test_the_instant_that_hides(lake: Shell, ch_database: ChDatabase) -> None:
    """`--as-of` sets the clock of the views: what expires later is there."""
    assert lake("run", "--once").code == 0
    table, key = f"{ch_database.prefix}tombs", "database = '{}' ".format(f"{ch_database.prefix}tombs")
    views = lake("sql", "lake", f"SELECT name FROM system.tables WHERE {key} ORDER BY name", "--json").records
    assert len(views) > 2

    def rows(as_of: str) -> int:
        counts = [
            lake("sql", "lake", f"SELECT count() AS n FROM {table}.`{one['name']}`", "--as-of", as_of, "--json").records
            for one in views
        ]
        return sum(int(count["n"]) for (count,) in counts)

    assert rows("1990-01-01T00:00:00Z") > rows("2100-01-01T00:00:00+02:00") > 0


def test_errors_are_one_sentence(lake: Shell) -> None:
    """A query that fails ends with 1 and the server's words, an instant that is none with 2; writing is refused."""
    missing = lake("sql", "lake", "SELECT * FROM nowhere")
    assert missing.code == 1
    assert "nowhere" in missing.err
    assert "for url" not in missing.err
    assert lake("sql", "lake", "SELECT 1", "--as-of", "yesterday-ish").code == 2
    written = lake("sql", "lake", "CREATE DATABASE should_not_be")
    assert written.code == 1
    assert "READONLY" in written.err
    assert lake("sql", "elsewhere", "SELECT 1").code == 2


def test_who_is_not_let_in(lake: Shell, ch_database: ChDatabase) -> None:
    """A wrong password, or nobody there, is the destination's matter, not the query's."""
    place = {"kind": "clickhouse", "host": ch_database.host, "username": ch_database.username, "password": "wrong"}
    lake.configure(destinations={"lake": {**place, "port": ch_database.port}})
    answer = lake("sql", "lake", "SELECT 1")
    assert (answer.code, "password is wrong" in answer.err) == (1, True)
    lake.configure(destinations={"lake": {**place, "port": 1}})
    answer = lake("sql", "lake", "SELECT 1")
    assert (answer.code, "cannot be reached" in answer.err) == (1, True)


def test_health_asks_both_kinds(lake: Shell, ch_database: ChDatabase, tmp_path: Path) -> None:
    """An address or a dsn; each system alone."""
    assert [one["up"] for one in lake("health", "lake", "--json").records] == [True]
    dsn = f"http://{ch_database.username}@{ch_database.host}:{ch_database.port}"
    lake.configure(destinations={"lake": {"kind": "clickhouse", "dsn": dsn, "password": ch_database.password}})
    assert [one["up"] for one in lake("health", "lake", "--json").records] == [True]
    lake.configure(destinations={"lake": {"kind": "clickhouse", "dsn": dsn, "password": "wrong"}})
    (one,) = lake("health", "lake", "--json").records
    assert (one["up"], "wrong" in one["message"]) == (False, False)
