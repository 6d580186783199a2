"""How much one micro-batch takes: for all destinations, or one that wants it otherwise."""

from __future__ import annotations

from pydantic import Field

from cdc_pipeline.config.section import Section, Whole


class BatchSettings(Section):
    """How much one transaction takes: it ends at the first limit."""

    rows: Whole = Field(default=20_000, ge=1)
    bytes: Whole = Field(default=64 * 1024 * 1024, ge=1)


class LargeBatch(BatchSettings):
    """For a destination that wants few, large inserts."""

    rows: Whole = Field(default=200_000, ge=1)
    bytes: Whole = Field(default=128 * 1024 * 1024, ge=1)
