"""Changes on the command line: values masked where the policy says so, and changes of the schema as JSON."""

from __future__ import annotations

from typing import Any

from cdc_pipeline.change import SchemaChange
from cdc_pipeline.decode.changes import Show, show_plain
from cdc_pipeline.schema import Column
from cdc_pipeline.transform import TableMasks, mask_input
from cdc_pipeline.types import CqlType, json_string


def masked_by(masks: TableMasks | None) -> Show:
    """How values are shown: as masks where the column is masked, `null` where it is excluded."""
    if masks is None:
        return show_plain

    def show(column: Column, kind: CqlType, raw: bytes | None) -> str:
        if raw is None or masks.is_excluded(column):
            return "null"
        masker = masks.masker(column.name)
        if masker is None:
            return show_plain(column, kind, raw)
        try:
            text = mask_input(kind)(raw)
        except ValueError:
            return "null"
        return "null" if text is None else json_string(masker.mask([text])[0] or "")

    return show


def schema_change_json(change: SchemaChange) -> dict[str, Any]:
    """What DDL or TRUNCATE did, for a line of JSON."""
    return {
        "segment": change.position.segment,
        "position": change.position.offset,
        "change": str(change.kind),
        "table": change.keyspace if change.table is None else f"{change.keyspace}.{change.table}",
        "table_id": None if change.table_id is None else str(change.table_id),
        "column": change.column,
        "detail": change.detail,
        "truncated_micros": change.truncated_micros,
    }
