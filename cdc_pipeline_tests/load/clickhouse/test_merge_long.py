"""Thousands of random histories over random schemas: `CDC_CASES` of each kind, drawn by `CDC_MERGE_SEED`."""

from __future__ import annotations

from cdc_pipeline_tests.load.merging_long import LongMergeContract


class TestClickHouse(LongMergeContract):
    """The contract; `ground` is in `conftest.py`."""
