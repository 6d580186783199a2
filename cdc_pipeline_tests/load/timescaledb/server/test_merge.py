"""Random histories over hypertables whose chunks are compressed in between: what Cassandra would answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.load.timescaledb import HypertableOptions
from cdc_pipeline_tests.load.changes import batch, table
from cdc_pipeline_tests.load.destination import Destination, state_of
from cdc_pipeline_tests.load.histories import NOW, POOLS, histories
from cdc_pipeline_tests.load.merging import deliveries, many
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.load.timescaledb.server.conftest import compress_all, maker

COMPRESSED = HypertableOptions(compress_after=timedelta(days=7))
VALUES = [("r0", "double"), ("r1", "text"), ("r2", "list<int>"), ("r3", "map<text, int>"), ("r4", "timestamp")]
STATICS = [("s0", "decimal"), ("s1", "set<text>")]
TABLES = (
    table("t", key=[("p0", "decimal")], clustering=[("c0", "timestamp desc"), ("c1", "int")], regular=VALUES),
    table("t", clustering=[("c0", "text"), ("c1", "timeuuid desc")], static=STATICS, regular=VALUES),
    table("t", key=[("p0", "int"), ("p1", "date")], clustering=[("c0", "double")], static=STATICS, regular=VALUES),
    table("t", key=[("p0", "timestamp")], regular=VALUES),
)
"""One for each way to a time."""


@pytest.fixture
def new_database(quiet_database: str) -> Callable[[], str]:
    """A function that empties one database of everything, for one example after the other."""

    def empty() -> str:
        with psycopg.connect(quiet_database, autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS cdc, ks CASCADE")
        return quiet_database

    return empty


@pytest.mark.parametrize("of", TABLES, ids=["timestamp", "timeuuid", "bucket", "only key"])
@given(data=st.data(), profile=st.sampled_from(["native", "exact"]))
@many
def test_any_order_gives_cassandras_answer(
    new_database: Callable[[], str], of: object, data: st.DataObject, profile: str
) -> None:
    """Shuffled, repeated, cut at random and compressed between any two batches, the view equals the reference."""
    history = data.draw(histories(of=of))  # type: ignore[arg-type]
    state = reference(history.table, history.changes)
    states = []
    for _ in range(2):
        conninfo = new_database()
        made = maker(COMPRESSED)
        with Destination(conninfo, (history.table,), profile=profile, make_sink=made).prepare() as destination:
            for changes in data.draw(deliveries(history)):
                letters = destination.load(batch(history.table, changes))
                assert profile == "native" or letters == []
                assert all("a hypertable's time cannot be" in letter.message for letter in letters)
                if letters:
                    return
                if data.draw(st.booleans()):
                    compress_all(destination)
            for now in (NOW - 2, NOW, NOW + 2000):
                parity = destination.compare(history.table, state.select(now), now)
                assert (parity.missing, parity.extra) == ((), ())
            states.append(state_of(conninfo))
    assert states[0] == states[1]


def test_the_pools_have_times() -> None:
    """The histories above hold times before and after 1970, and no empty one."""
    assert all(POOLS["timestamp"])
    assert len(POOLS["timestamp"]) >= 3
