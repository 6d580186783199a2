"""One dead letter."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cdc_pipeline.change import Position


class FailureReason(StrEnum):
    """Why a change was parked; the remedy differs by reason (docs/dead-letters.md)."""

    VALUE_OUT_OF_RANGE = "VALUE_OUT_OF_RANGE"
    MASKING_FAILED = "MASKING_FAILED"
    ORDER_LOST_BY_MASK = "ORDER_LOST_BY_MASK"
    UNKNOWN_TABLE = "UNKNOWN_TABLE"
    UNKNOWN_COLUMN = "UNKNOWN_COLUMN"
    UNREADABLE_SCHEMA = "UNREADABLE_SCHEMA"
    CORRUPT_MUTATION = "CORRUPT_MUTATION"
    CORRUPT_SEGMENT = "CORRUPT_SEGMENT"
    REFUSED_BY_DESTINATION = "REFUSED_BY_DESTINATION"

    @property
    def is_change(self) -> bool:
        """Whether what was parked is a change of a loaded table, and not a place that gave none."""
        return self in _OF_CHANGES


_OF_CHANGES = frozenset(
    {
        FailureReason.VALUE_OUT_OF_RANGE,
        FailureReason.MASKING_FAILED,
        FailureReason.ORDER_LOST_BY_MASK,
        FailureReason.REFUSED_BY_DESTINATION,
    }
)


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many letters of one table (None: of no known one) and reason are parked, and when the newest failed."""

    table: str | None
    reason: str
    letters: int
    newest: dt.datetime


@dataclass(frozen=True)
class DeadLetterEvent:
    """A parked change. `event` is the original one, masked; `id` is the same when the same bytes fail again."""

    id: uuid.UUID
    destination: str
    shard: str
    keyspace: str | None
    table: str | None
    reason: FailureReason
    message: str
    event: Mapping[str, Any]
    schema_details: Mapping[str, Any]
    position: Position
    failed_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    retry_count: int = 0
