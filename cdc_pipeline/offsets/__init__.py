"""A lane's position: the destination's row is the truth, Dagster's run storage holds a copy.

`lane.py` the records and the decision when both disagree; the SQL that stores a position in the transaction of its
rows is the destination's.
"""

from cdc_pipeline.offsets.lane import Lane, LaneState, OffsetCopy, Reconciled, copy_key, fenced, reconcile

__all__ = ["Lane", "LaneState", "OffsetCopy", "Reconciled", "copy_key", "fenced", "reconcile"]
