"""CQL types in PostgreSQL.

`mapping.py` the table of scalars for both profiles, over the encoders of `scalars.py`; `nested.py` arrays and JSON;
`literals.py` elements as text; `columns.py` what a whole column becomes.
"""

from cdc_pipeline.load.arrays import Unfit
from cdc_pipeline.load.postgres.types.columns import (
    COUNTER,
    MASKED,
    CellsType,
    ValueType,
    cells_type,
    masked_cells_type,
    scalar_type,
    value_type,
)
from cdc_pipeline.load.postgres.types.mapping import KEY_IS_EXACT

__all__ = [
    "COUNTER",
    "KEY_IS_EXACT",
    "MASKED",
    "CellsType",
    "Unfit",
    "ValueType",
    "cells_type",
    "masked_cells_type",
    "scalar_type",
    "value_type",
]
