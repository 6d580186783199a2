"""How a destination's clusterings sort, and why one does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdc_pipeline.change import ChangeBatch, parse_segment_name
from cdc_pipeline.errors import RowError, ValueOutOfRange
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.transform import RangeDeletion, Rows
from cdc_pipeline.types import Scalar, clustering_key, holds, range_bounds
from cdc_pipeline.types.key_arrays import clustering_keys

Places = npt.NDArray[np.uint64]


class ClusteringColumn(Protocol):
    """A clustering column as a destination has planned it."""

    @property
    def column(self) -> Column:
        """The column."""

    @property
    def masked(self) -> bool:
        """Whether its values are masks."""


def has_forms(column: ClusteringColumn) -> bool:
    """Whether equal values may be written in several forms, as the decimals 1.0 and 1.00.

    They are one key, shown in the form that came first: a row that is there keeps its clustering when another is merged
    with it (Cassandra's `Rows.merge`). So that no order of loading matters, a destination keeps each form behind its
    place in the log, and of these the least.
    """
    return not column.masked and holds(column.column.type, "decimal")


def written_at(batch: ChangeBatch, source: npt.NDArray[np.int64]) -> tuple[Places, Places]:
    """(segment id, position) in the log of rows of a batch."""
    segment = parse_segment_name(batch.segment)
    segments = np.full(len(source), segment.id if segment is not None else 0, np.uint64)
    return segments, batch.rows.column("position").to_numpy()[source].astype(np.uint64)


class Clusterings:
    """The clusterings of one table as bytes that sort as Cassandra's; masked columns sort by their mask's text."""

    def __init__(self, table: Table, columns: Sequence[ClusteringColumn]) -> None:
        self._where = f"{table.full_name} ({', '.join(one.column.name for one in columns)})"
        self._cql = ", ".join(one.column.type.cql for one in columns)
        self._types = [Scalar("text") if one.masked else one.column.type for one in columns]
        self._descending = [one.column.descending for one in columns]
        self._key = clustering_key(self._types, self._descending)

    def of(self, rows: Rows, failures: dict[int, RowError]) -> pa.Array:
        """The sort bytes of each row; one that has none is named in `failures` by its source."""
        keys, bad = clustering_keys(self._types, self._descending, rows.clustering)
        failures |= {int(rows.source[at]): self._unsortable() for at in np.flatnonzero(bad)}
        return keys

    def bounded(
        self, ranges: Iterable[RangeDeletion], failures: dict[int, RowError]
    ) -> Iterator[tuple[bytes, bytes, RangeDeletion]]:
        """Each range with the sort bytes [lo, hi) that it covers, over a whole partition ["", FF)."""
        for one in ranges:
            lo, hi = b"", b"\xff"
            if (start := one.start) is not None and (end := one.end) is not None:
                try:
                    lo, hi = range_bounds(self._key, start.values, start.inclusive, end.values, end.inclusive)
                except ValueError:
                    failures[one.source] = self._unsortable()
                    continue
            yield lo, hi, one

    def _unsortable(self) -> RowError:
        return ValueOutOfRange(self._where, self._cql, "its sort key", "bytes that are none of the types'")
