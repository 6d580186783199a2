"""Segments to changes, in the data's order.

`segment.py` header, markers, bodies (`compression.py`, `encryption.py`); `section_cy.py` the compiled loop over the
entries of a section; `arrow.py` its buffers as a `ChangeBatch`; `follow.py` DDL and TRUNCATE in the log; `reader.py`
ties them together; `mutations.py` prints.
"""

from cdc_pipeline.decode.changes import change_schema, to_arrow, to_pandas
from cdc_pipeline.decode.encryption import KeyProvider
from cdc_pipeline.decode.follow import SchemaFollower
from cdc_pipeline.decode.mutations import dump_lines
from cdc_pipeline.decode.public import read_events, read_segment
from cdc_pipeline.decode.reader import DecodedBatch, Decoder, SegmentReading
from cdc_pipeline.decode.section_cy import COMPILED
from cdc_pipeline.decode.segment import VERSIONS, Section, SegmentFile

__all__ = [
    "COMPILED",
    "VERSIONS",
    "DecodedBatch",
    "Decoder",
    "KeyProvider",
    "SchemaFollower",
    "Section",
    "SegmentFile",
    "SegmentReading",
    "change_schema",
    "dump_lines",
    "read_events",
    "read_segment",
    "to_arrow",
    "to_pandas",
]
