"""How a destination's clusterings sort, and why one does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cdc_pipeline.schema import Column
from cdc_pipeline.types import CqlType, Scalar


class ClusteringColumn(Protocol):
    """A clustering column as a destination has planned it."""

    @property
    def column(self) -> Column:
        """The column."""

    @property
    def masked(self) -> bool:
        """Whether its values are masks."""


def sorted_as(clustering: Sequence[ClusteringColumn]) -> tuple[list[CqlType], list[bool]]:
    """(types, descending) by which clusterings sort; masked columns sort by their mask's text."""
    types = [Scalar("text") if key.masked else key.column.type for key in clustering]
    return types, [key.column.descending for key in clustering]
