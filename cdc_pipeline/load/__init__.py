"""Destinations: `sink.py` what the pipeline asks of one; a folder each, with the same file names inside."""

from cdc_pipeline.load.sink import ColumnSummary, Encoded, Purged, Sink, TableSummary, Truncation

__all__ = ["ColumnSummary", "Encoded", "Purged", "Sink", "TableSummary", "Truncation"]
