"""Which bytes are safe to read: the segments of a shard's directories and what their `_cdc.idx` files say.

`segments.py` one segment and its index; `shard.py` the directories of a shard, read as one. Nothing is ever written.
"""

from cdc_pipeline.capture.segments import SegmentState, read_segment
from cdc_pipeline.capture.shard import ShardLog

__all__ = ["SegmentState", "ShardLog", "read_segment"]
