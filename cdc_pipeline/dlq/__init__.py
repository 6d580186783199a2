"""Dead letters: row changes, and damaged places of the log, that could not be loaded.

`letter.py` the record and why it failed; `describe.py` a change as JSON without a value of a masked column. The SQL
that stores letters in the transaction of the rows is the destination's.
"""

from cdc_pipeline.dlq.describe import Seal, describe_damage, describe_event, digest, schema_details
from cdc_pipeline.dlq.letter import DeadLetterCount, DeadLetterEvent, FailureReason

__all__ = [
    "DeadLetterCount",
    "DeadLetterEvent",
    "FailureReason",
    "Seal",
    "describe_damage",
    "describe_event",
    "digest",
    "schema_details",
]
