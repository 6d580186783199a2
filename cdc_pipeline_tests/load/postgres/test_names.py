"""Cassandra's names, letter by letter, in a real server."""

from __future__ import annotations

import unicodedata

import pytest

from cdc_pipeline.change import RowKind
from cdc_pipeline.load.postgres import names
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.types.values import int_bytes

COLUMNS = {
    "mixed case": "CamelCase",
    "reserved words": "select",
    "quotes": "a\"b'c",
    "unicode": "größe 日本 🎈",
    "spaces": " a b ",
    "braces and percent": "{x} %s %(y)s {{",
    "63 bytes": "n" * 63,
    "64 bytes": "n" * 64,
    "200 bytes": "n" * 200,
    "cut inside a character": "n" * 51 + "日" * 20,
    "like our own": "r:ck",
    "prefix of another": "v:name",
    "the same in lower case": "camelcase",
    "composed": unicodedata.normalize("NFC", "é"),
    "decomposed": unicodedata.normalize("NFD", "é"),
    "quotes in pairs": '""',
    "backslash and semicolon": "\\';--",
}


@pytest.mark.parametrize("keyspace", ["ks", "Mixed", "user", "cdc", "pg_x", "default", "information_schema", "public"])
def test_keyspaces(pg_database: str, keyspace: str) -> None:
    """A keyspace is its schema; one that PostgreSQL or the pipeline owns gets `ks_` in front."""
    of = table("order", keyspace=keyspace)
    schema = f"ks_{keyspace}" if keyspace in ("cdc", "pg_x", "default", "information_schema") else keyspace
    with Destination(pg_database, (of,)).prepare() as there:
        there.load(batch(of, [Change((int_bytes(1),), live=1)]))
        assert there.query(f'SELECT pk FROM "{schema}"."order"') == [(1,)]


def test_no_two_keyspaces_share_a_schema(pg_database: str) -> None:
    """A keyspace that has the name of another's prefixed schema gets one of its own."""
    keyspaces = ["cdc", "ks_cdc", "ks_ks_cdc", "pg_x", "ks_pg_x", "ks_", "ks_x", "default", "ks_default"]
    schemas = [names.schema_name(keyspace) for keyspace in keyspaces]
    assert len({*schemas}) == len(keyspaces)
    assert schemas[-4:] == ["ks_", "ks_x", "ks_default", "ks_ks_default"]
    tables = tuple(table("t", keyspace=keyspace) for keyspace in ("cdc", "ks_cdc"))
    with Destination(pg_database, tables).prepare() as there:
        for at, of in enumerate(tables):
            there.load(batch(of, [Change((int_bytes(at),), live=1)]))
        assert there.query("SELECT pk FROM ks_cdc.t") == [(0,)]
        assert there.query("SELECT pk FROM ks_ks_cdc.t") == [(1,)]


def test_columns(pg_database: str) -> None:
    """Every name that CQL can quote is a column of every kind, with its own value and none of another's."""
    listed = list(COLUMNS.values())
    cells = tuple(Cell(name, 1, int_bytes(at)) for at, name in enumerate(listed))
    for kind in ("key", "clustering", "static", "regular"):
        spec = [(name, "int") for name in listed]
        parts = {"key": [("pk", "int")], "clustering": [("ck", "int")], "static": [], "regular": [("v", "int")]}
        of = table(f"by_{kind}", **{**parts, kind: spec})
        numbers = tuple(int_bytes(at) for at in range(len(listed)))
        change = Change(
            numbers if kind == "key" else (int_bytes(0),),
            numbers if kind == "clustering" else (int_bytes(0),),
            cells if kind == "regular" else (),
            live=1,
        )
        statics = Change((int_bytes(0),), kind=RowKind.STATIC, cells=cells)
        with Destination(pg_database, (of,)).prepare() as there:
            there.load(batch(of, [change, *([statics] if kind == "static" else [])]))
            (row,) = there.query(f"SELECT to_json(t) FROM ks.by_{kind} t")
            assert [row[0][names.fitted(name)] for name in listed] == list(range(len(listed)))


def test_multi_cell_columns_and_fields(pg_database: str) -> None:
    """Collections and masked columns have parts of their own; their names fit too."""
    of = table("t", regular=[(name, "set<int>") for name in COLUMNS.values()])
    cells = tuple(Cell(name, 1, b"", int_bytes(at)) for at, name in enumerate(COLUMNS.values()))
    with Destination(pg_database, (of,)).prepare() as there:
        there.load(batch(of, [Change((int_bytes(0),), cells=cells, live=1)]))
        (row,) = there.query("SELECT to_json(t) FROM ks.t t")
        assert [row[0][names.fitted(name)] for name in COLUMNS.values()] == [[at] for at in range(len(COLUMNS))]


def test_tables_of_48_letters(pg_database: str) -> None:
    """Keyspaces and tables as long as Cassandra allows, that begin alike, are tables of their own, ledgers and all."""
    tables = [
        table("t" * 47 + end, keyspace="k" * 47 + start, clustering=[("ck", "int")], static=[("s", "int")])
        for start in "ab"
        for end in "ab"
    ]
    with Destination(pg_database, tuple(tables)).prepare() as there:
        for at, of in enumerate(tables):
            there.load(batch(of, [Change((int_bytes(at),), (int_bytes(0),), live=1)]))
        for at, of in enumerate(tables):
            assert there.query(f'SELECT pk FROM "{of.keyspace}"."{of.name}"') == [(at,)]
        assert there.query("SELECT count(*) FROM pg_indexes WHERE schemaname = 'cdc' AND indexname LIKE '%:key'") == [
            (12,)
        ]


def test_fitted_names_are_at_most_63_bytes() -> None:
    """A long name keeps its beginning and gets a hash of all of it, the same every time, cut between characters."""
    for name in COLUMNS.values():
        fitted = names.fitted(name)
        assert len(fitted.encode()) <= 63
        assert fitted == name or fitted.startswith(name[:20])
    assert names.fitted("n" * 64) != names.fitted("n" * 65)
    assert names.literal("it's") == "'it''s'"
