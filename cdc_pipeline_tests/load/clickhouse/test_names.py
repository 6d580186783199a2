"""Names that Cassandra takes between quotes, and those that the state and the view use themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.histories import NOW
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import int_bytes

ODD = (
    'a "b"', "`tick`", "back\\slash", "a.b", "a.w", "it's", "{x}", "%s", "ä ö", "日本", "a,b", "(c)", "a;b", "--", "\n",
    "x" * 60,
)  # fmt: skip
OURS = ("p0", "c0", "v0", "v1", "now", "f", "tf", "g", "r", "t", "s", "e", "o", "d", "lo", "hi", "ts", "live", "last")
UNDER = ("_r", "_now", "_0a", "_1a", "_s0a", "_t", "__r", "___", "pc", "a", "alive")
STATE = ("r:d", "r:l", "r:ck", "r:t", "v:a", "p0:b")
RESERVED = (
    "select",
    "from",
    "SELECT",
    "Upper",
    "upper",
    "UPPER",
    "order",
    "group",
    "final",
    "null",
    "key",
    "index",
    "as",
)


@pytest.fixture
def destination(ch_database: ChDatabase) -> Iterator[Callable[[Table], ClickHouseDestination]]:
    """A function that prepares a table."""
    made: list[ClickHouseDestination] = []

    def prepared(of: Table) -> ClickHouseDestination:
        made.append(ClickHouseDestination("", (of,), place=ch_database).prepare())
        return made[-1]

    yield prepared
    for one in made:
        one.sink.close()


def history(of: Table) -> list[Change]:
    """Every column written in two batches, statics, and a range that hides one row."""
    key = (int_bytes(1),) * len(of.partition_key)
    found = []
    for ck in (1, 2, 3):
        row = (int_bytes(ck),) * len(of.clustering)
        cells = [
            Cell(c.name, 5, b"", int_bytes(at)) if c.type.multi_cell else Cell(c.name, 5, int_bytes(at + ck))
            for at, c in enumerate(of.regular)
        ]
        found.append(Change(key, row, tuple(cells), live=5))
    found.append(Change(key, kind=RowKind.STATIC, cells=tuple(Cell(c.name, 5, int_bytes(7)) for c in of.static)))
    if of.clustering:
        bound = Bound((int_bytes(3),), True)
        found.append(Change(key, kind=RowKind.RANGE, deleted=9, bounds=(bound, bound)))
    return found


def assert_read_back(there: ClickHouseDestination, of: Table) -> None:
    """The view equals the reference, and a query by name finds each column."""
    changes = history(of)
    for at in range(len(changes)):
        assert there.load(batch(of, [changes[at]])) == []
    parity = there.compare(of, reference(of, changes).select(NOW), NOW)
    assert (parity.missing, parity.extra) == ((), ())
    with closing(there.place.client()) as client:
        shown = client.query(f"SELECT * FROM {there.plan(of).public}")
        assert list(shown.column_names) == [column.name for column in of.columns]
    for column in of.columns:
        name = quoted(column.name)
        found = there.query(f"SELECT {name} FROM {there.plan(of).public} WHERE isNotNull({name})")
        assert len(found) == (2 if of.clustering else 1), column.name


@pytest.mark.parametrize(
    "names", [ODD, OURS, UNDER, STATE, RESERVED], ids=["odd", "ours", "under", "the state's", "reserved"]
)
def test_columns(destination: Callable[[Table], ClickHouseDestination], names: tuple[str, ...]) -> None:
    """As values, simple and of many cells, and as static ones."""
    values = [(name, "set<int>" if at % 5 == 4 else "int") for at, name in enumerate(names)]
    of = table("t", key=[("pk", "int")], clustering=[("ck", "int")], static=values[:1], regular=values[1:])
    assert_read_back(destination(of), of)


@pytest.mark.parametrize(
    "names", [("`", '"'), ("v0", "p0"), ("c0", "now"), ("r:ck", "f"), ("select", "ts"), ("s", "lo"), ("_r", "_now")]
)
def test_keys(destination: Callable[[Table], ClickHouseDestination], names: tuple[str, str]) -> None:
    """As partition keys and clustering columns."""
    of = table(
        "t", key=[(names[0], "int")], clustering=[(names[1], "int")], static=[("c1", "int")], regular=[("p1", "int")]
    )
    assert_read_back(destination(of), of)


@pytest.mark.parametrize(
    ("keyspace", "name"),
    [("ks", "T"), ("Order", "select"), ("cdc", "x" * 48), ("system", "x" * 150)],
    ids=["upper", "reserved", "ours", "long"],
)
def test_tables(destination: Callable[[Table], ClickHouseDestination], keyspace: str, name: str) -> None:
    """Tables and keyspaces whose names are folded elsewhere, reserved, or as long as Cassandra's may be."""
    of = table(name, clustering=[("ck", "int")], static=[("s", "int")], keyspace=keyspace)
    assert_read_back(destination(of), of)


def test_names_that_differ_by_case(ch_database: ChDatabase) -> None:
    """They are two tables."""
    one, other = table("t", regular=[("v", "int")]), table("T", regular=[("v", "int")])
    with ClickHouseDestination("", (one, other), place=ch_database).prepare() as there:
        there.load(batch(one, [Change((int_bytes(1),), live=5)]), batch(other, [Change((int_bytes(2),), live=5)]))
        found: list[Any] = [there.query(f"SELECT pk FROM {there.plan(of).public}") for of in (one, other)]
        assert found == [[(1,)], [(2,)]]
