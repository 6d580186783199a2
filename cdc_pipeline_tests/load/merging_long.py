"""Thousands of random histories over random schemas, at every destination: `CDC_CASES` of each kind, drawn by
`CDC_MERGE_SEED`."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cdc_pipeline_tests.load.histories import histories
from cdc_pipeline_tests.load.merging import Ground, assert_answers, assert_same_state

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


@pytest.mark.long
@pytest.mark.timeout(7200)
class LongMergeContract:
    """Inherit, and give the fixture `ground`."""

    @pytest.fixture(autouse=True)
    def said(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Says how to repeat this run."""
        with capsys.disabled():
            print(f"\nCDC_MERGE_SEED={SEED} CDC_CASES={CASES}")

    @pytest.mark.parametrize("profile", ["native", "exact"])
    @seed(SEED)
    @given(data=st.data())
    @thousands
    def test_any_order_gives_cassandras_answer(self, ground: Ground[Any], data: st.DataObject, profile: str) -> None:
        """Shuffled, repeated and cut at random, however the server merges, the view equals the order-free reference."""
        assert_answers(ground, data, data.draw(histories()), profile=profile)

    @pytest.mark.parametrize("profile", ["native", "exact"])
    @seed(SEED)
    @given(data=st.data())
    @thousands
    def test_any_order_gives_the_same_state(self, ground: Ground[Any], data: st.DataObject, profile: str) -> None:
        """Two deliveries of one history leave the same merged contents in every state table, cell by cell."""
        assert_same_state(ground, data, data.draw(histories()), profile=profile)
