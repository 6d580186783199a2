"""Thousands of random histories over random schemas: `CDC_CASES` of each kind, drawn by `CDC_MERGE_SEED`."""

from __future__ import annotations

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from cdc_pipeline_tests.load.clickhouse.destination import again
from cdc_pipeline_tests.load.clickhouse.test_merge import (
    MERGES,
    Make,
    assert_answers,
    assert_same_state,
    deliver,
    loaded,
    one_place,
)
from cdc_pipeline_tests.load.histories import histories
from cdc_pipeline_tests.load.postgres.test_merge import deliveries
from cdc_pipeline_tests.load.postgres.test_merge_long import SEED, said, thousands
from cdc_pipeline_tests.load.reference import reference

__all__ = ["loaded", "one_place", "said"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("profile", ["native", "exact"])
@seed(SEED)
@given(data=st.data())
@thousands
def test_any_order_gives_cassandras_answer(loaded: Make, data: st.DataObject, profile: str) -> None:
    """Shuffled, repeated and cut at random, however the server merges, the view equals the order-free reference."""
    history = data.draw(histories())
    of = again(history.table)
    with loaded(of, profile=profile) as destination:
        kept = deliver(destination, of, data.draw(deliveries(history)), data.draw(MERGES))
        assert_answers(destination, of, reference(of, kept))


@seed(SEED)
@given(data=st.data())
@thousands
def test_any_order_gives_the_same_state(loaded: Make, data: st.DataObject) -> None:
    """Two deliveries of one history leave the same merged contents in every state table, cell by cell."""
    assert_same_state(loaded, data, data.draw(histories()), [])
