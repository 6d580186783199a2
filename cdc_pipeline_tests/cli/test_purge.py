"""`purge`: what is dead goes, by the retention that is configured and the table's own."""

from __future__ import annotations

import psycopg

from cdc_pipeline_tests.cli.conftest import Shell

WHERE = 'WHERE "r:seen" IS NOT NULL'


def test_noted_first_and_removed_later(loaded: Shell, pg_database: str) -> None:
    """The first pass notes, one that comes after the retention removes; views stay as they are."""
    loaded("run", "--once")
    query = ("sql", "warehouse", "SELECT * FROM tombs.up ORDER BY 1, 2, 3, 4", "--json")
    before = loaded(*query).out
    first = {one["table"]: one for one in loaded("purge", "--json").records}
    assert first["tombs.up"]["noted"] > 0
    assert {(one["rows"], one["ranges"]) for one in first.values()} == {(0, 0)}
    assert {one["retention"] for one in first.values()} == {864_000.0}
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute('UPDATE cdc."tombs.up" SET "r:seen" = "r:seen" - interval \'11 days\'')
        connection.execute("UPDATE cdc.\"tombs.up:ranges\" SET applied = applied - interval '11 days'")
    second = {one["table"]: one for one in loaded("purge", "--json").records}
    assert second["tombs.up"]["rows"] > 0
    assert second["tombs.up"]["ranges"] > 0
    assert loaded(*query).out == before
    assert loaded("purge").code == 0


def test_the_longest_retention_counts(loaded: Shell) -> None:
    """The configured floor and the archive's retention are both outlived."""
    loaded.configure(tombstone_retention="30d")
    assert {one["retention"] for one in loaded("purge", "--json").records} == {30 * 86_400.0}


def test_a_destination_that_is_down(shell: Shell) -> None:
    """One sentence, exit code 1."""
    answer = shell("purge")
    assert answer.code == 1
    assert "127.0.0.1:1" in answer.err


def test_a_retention_that_is_none(loaded: Shell) -> None:
    """A duration is a number with a unit."""
    loaded.configure(tombstone_retention="soon")
    answer = loaded("purge")
    assert answer.code == 2
    assert "tombstone_retention" in answer.err
