"""TimescaleDB: PostgreSQL's tables and merge, the rows of a table with a time in its key in a hypertable.

`timecolumn.py` which column of a key is the time; `plan.py`, `ddl.py` what that changes; `history.py` one row per
change, beside the state; `extension.py` what the server must have; `sink.py` the rest of the way.
"""

from cdc_pipeline.load.timescaledb.options import HypertableOptions
from cdc_pipeline.load.timescaledb.sink import TimescaleSink

__all__ = ["HypertableOptions", "TimescaleSink"]
