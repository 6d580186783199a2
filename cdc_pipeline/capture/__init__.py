"""Which bytes are safe to read, what waits for them, and the archive that finished segments move to.

`segments.py` one segment and its index; `folder.py` what lies in a directory; `shard.py` a shard's `cdc_raw` and
archive, read as one; `watch.py` waiting for a change; `archive.py` moving in and out, `placing.py` by link or copy,
`manifest.py` what is known of a segment; `space.py` how full `cdc_raw` is; `loss.py` what vanished before it was read.
Only `archive.py` writes, and only when an archive is configured.
"""

from cdc_pipeline.capture.segments import SegmentState, read_segment
from cdc_pipeline.capture.shard import ShardLog
from cdc_pipeline.capture.watch import Changes, watching

__all__ = ["Changes", "SegmentState", "ShardLog", "read_segment", "watching"]
