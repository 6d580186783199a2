"""CQL types in ClickHouse.

`scalars.py` the ways in which columns are typed and kept; `mapping.py` the table of scalars for both profiles;
`columns.py` what a column of one value becomes, `cells.py` one of many cells, `counters.py` a counter.
"""

from cdc_pipeline.load.clickhouse.types.cells import CellsType, cells_type, masked_cells_type
from cdc_pipeline.load.clickhouse.types.columns import MASKED, ValueType, as_one_value, holds_user_type, value_type
from cdc_pipeline.load.clickhouse.types.mapping import KEY_IS_EXACT
from cdc_pipeline.load.clickhouse.types.scalars import Typed

__all__ = [
    "KEY_IS_EXACT",
    "MASKED",
    "CellsType",
    "Typed",
    "ValueType",
    "as_one_value",
    "cells_type",
    "holds_user_type",
    "masked_cells_type",
    "value_type",
]
