"""Random histories in any order, any number of times, in any batches: the view is what Cassandra would answer."""

from __future__ import annotations

import pytest

from cdc_pipeline_tests.load.merging import MergeContract


class TestClickHouse(MergeContract):
    """The contract; `ground` is in `conftest.py`."""

    @pytest.fixture(params=["never", "at the end"], ids=["in parts", "merged"])
    def merges(self, request: pytest.FixtureRequest) -> str:
        """What the view merges, and what the server has merged."""
        return str(request.param)
