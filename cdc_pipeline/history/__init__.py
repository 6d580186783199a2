"""What the schema of a shard was at each place of its log.

`store.py` the history's files; `places.py` the schema of a place, from the history, the snapshot, and the log at hand;
`counters.py` where counter tables were made.
"""

from cdc_pipeline.history.counters import Places, places_of
from cdc_pipeline.history.places import ShardSchema
from cdc_pipeline.history.store import Entry, SchemaHistory

__all__ = ["Entry", "Places", "SchemaHistory", "ShardSchema", "places_of"]
