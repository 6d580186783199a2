"""Tables that no destination takes."""

from __future__ import annotations

from cdc_pipeline.schema import Table
from cdc_pipeline.transform import TableMasks
from cdc_pipeline.types import Scalar


def masked_counter(table: Table, masks: TableMasks) -> str | None:
    """Why a table with a masked counter is not loaded: a sum cannot be made of masks."""
    masked = [column.name for column in table.values if column.type == Scalar("counter") and masks.is_masked(column)]
    if not masked:
        return None
    return f"a rule masks the counter {', '.join(masked)}: a counter is a sum, which no mask has; keep or exclude it"
