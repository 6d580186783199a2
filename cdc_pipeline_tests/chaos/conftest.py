"""What the tests of interruptions share."""

from cdc_pipeline_tests.chaos.workload import site

__all__ = ["site"]
