"""What failed, as JSON for the dead-letter store: values of masked columns only as masks, or not at all."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from cdc_pipeline.change import Bound, ChangeEvent, Damage
from cdc_pipeline.dlq.letter import FailureReason
from cdc_pipeline.schema import Column, Table

_NAMESPACE = uuid.UUID("5a1b9a0e-6d0b-5f0c-9d7e-cdc000000002")
_DAMAGE_REASONS = {
    "entry": FailureReason.CORRUPT_MUTATION,
    "section": FailureReason.CORRUPT_SEGMENT,
    "table": FailureReason.UNKNOWN_TABLE,
    "column": FailureReason.UNKNOWN_COLUMN,
    "schema": FailureReason.UNREADABLE_SCHEMA,
}

Seal = Callable[[bytes], Mapping[str, Any]]
"""What may be kept of raw bytes, as JSON."""


def describe_event(event: ChangeEvent, table: Table, is_hidden: Callable[[Column], bool]) -> dict[str, Any]:
    """The event as JSON. Values of hidden columns are left out; the place in the log leads back to them."""
    by_name = {column.name: column for column in (*table.columns, *table.value_columns)}

    def shown(name: str, value: bytes | None) -> Any:
        column = by_name[name]
        if value is None:
            return None
        if is_hidden(column):
            return {"masked": True}
        return {"cql_type": column.type.cql, "hex": value.hex()}

    def bound(end: Bound | None) -> dict[str, Any] | None:
        if end is None:
            return None
        values = {c.name: shown(c.name, v) for c, v in zip(table.clustering, end.values, strict=False)}
        return {"values": values, "inclusive": end.inclusive}

    return {
        "event_id": str(event.event_id),
        "event_type": str(event.event_type),
        "partition_key": {name: shown(name, value) for name, value in event.partition_key.items()},
        "clustering_key": {name: shown(name, value) for name, value in event.clustering_key.items()},
        "cells": [
            {
                "column": cell.column,
                "path": cell.path.hex() if cell.path is not None and not is_hidden(by_name[cell.column]) else None,
                "value": shown(cell.column, cell.value),
                "timestamp_micros": cell.timestamp_micros,
                "ttl_seconds": cell.ttl_seconds,
            }
            for cell in event.cells
        ],
        "start": bound(event.start),
        "end": bound(event.end),
        "timestamp_micros": event.timestamp_micros,
        "deleted_micros": event.deleted_micros,
        "ttl_seconds": event.ttl_seconds,
        "is_static": event.is_static,
        "captured_at": event.captured_at.isoformat(),
    }


def digest(raw: bytes) -> Mapping[str, Any]:
    """What identifies bytes without telling them."""
    return {"sha256": hashlib.sha256(raw).hexdigest()}


def describe_damage(
    damage: Damage, segment: str, table: Table | None, seal: Seal = digest
) -> tuple[uuid.UUID, FailureReason, Mapping[str, Any]]:
    """(id, reason, description) of a damaged place: where it is and how long.

    Of a mutation that the schema cannot read it says what `seal` makes of its bytes; nobody can tell which of them
    belong to a masked column.
    """
    description = {
        "offset": damage.error.offset,
        "position": damage.position,
        "bytes": damage.size,
        "table_id": str(damage.table_id) if damage.table_id is not None else None,
        "table": table.full_name if table is not None else None,
        "column": damage.column,
        "mutation": dict(seal(damage.mutation)) if damage.mutation is not None else None,
    }
    identity = uuid.uuid5(_NAMESPACE, f"{segment}:{damage.error.offset}:{damage.kind}")
    return identity, _DAMAGE_REASONS[damage.kind], description


def schema_details(table: Table) -> dict[str, Any]:
    """The table's columns and types as they were when the change failed."""
    return {
        "table_id": str(table.id),
        "columns": {column.name: {"kind": str(column.kind), "type": column.type.cql} for column in table.columns},
    }
