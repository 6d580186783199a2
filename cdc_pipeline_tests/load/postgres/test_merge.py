"""Random histories in any order, any number of times, in any batches: the view is what Cassandra would answer."""

from __future__ import annotations

from cdc_pipeline_tests.load.merging import MergeContract


class TestPostgres(MergeContract):
    """The contract; `ground` is in `conftest.py`."""
