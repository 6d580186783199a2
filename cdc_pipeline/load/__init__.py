"""Destinations: `sink.py` what the pipeline asks of one; `parity.py` whether one equals a truth; a folder each, with
the same file names inside."""

from cdc_pipeline.load.parity import Parity, TruthRow, masked_text, read_truth
from cdc_pipeline.load.sink import ColumnSummary, Encoded, Purged, Sink, TableSummary, Truncation

__all__ = [
    "ColumnSummary",
    "Encoded",
    "Parity",
    "Purged",
    "Sink",
    "TableSummary",
    "Truncation",
    "TruthRow",
    "masked_text",
    "read_truth",
]
