"""Thousands of random histories over random schemas: `CDC_CASES` of each kind, drawn by `CDC_MERGE_SEED`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cdc_pipeline_tests.load.changes import batch
from cdc_pipeline_tests.load.destination import Destination, state_of
from cdc_pipeline_tests.load.histories import histories
from cdc_pipeline_tests.load.postgres.test_merge import assert_answers, deliveries, new_database

__all__ = ["new_database"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

CASES = int(os.environ.get("CDC_CASES") or 1500)
SEED = int(os.environ.get("CDC_MERGE_SEED") or random.SystemRandom().randrange(10**6))

thousands = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)


@pytest.fixture(autouse=True)
def said(capsys: pytest.CaptureFixture[str]) -> None:
    """Says how to repeat this run."""
    with capsys.disabled():
        print(f"\nCDC_MERGE_SEED={SEED} CDC_CASES={CASES}")


@pytest.mark.parametrize("profile", ["native", "exact"])
@seed(SEED)
@given(data=st.data())
@thousands
def test_any_order_gives_cassandras_answer(new_database: Callable[[], str], data: st.DataObject, profile: str) -> None:
    """Shuffled, repeated and cut at random, the view equals the order-free reference."""
    history = data.draw(histories())
    with Destination(new_database(), (history.table,), profile=profile).prepare() as destination:
        assert_answers(destination, history, data.draw(deliveries(history)))


@seed(SEED)
@given(data=st.data())
@thousands
def test_any_order_gives_the_same_state(new_database: Callable[[], str], data: st.DataObject) -> None:
    """Two deliveries of one history leave the same contents in every state table, cell by cell."""
    history = data.draw(histories())
    states = []
    for _ in range(2):
        with Destination(new_database(), (history.table,)).prepare() as destination:
            for changes in data.draw(deliveries(history)):
                destination.load(batch(history.table, changes))
            states.append(state_of(destination.conninfo))
    assert states[0] == states[1]
