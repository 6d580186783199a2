"""The masking stage: a merged batch in, the same batch without a raw value of a masked column out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pyarrow as pa

from cdc_pipeline.change import Bound
from cdc_pipeline.errors import ConfigurationError, MaskingFailed, OrderLostByMask, RowError
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.transform.compaction import Cells, Longs, MergedBatch, RangeDeletion, Rows
from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.masker import Masker
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.report import MaskingReport
from cdc_pipeline.types import CqlType, ListType, MapType, Scalar, SetType, UserType, to_json


@dataclass(frozen=True)
class MaskedBatch:
    """What may leave. Values of masked columns are the masks' text; `failures` maps rows of the batch to why they
    must be parked; `report` counts what was done."""

    merged: MergedBatch
    failures: Mapping[int, RowError]
    report: MaskingReport

    @property
    def table(self) -> Table:
        """The table of the batch."""
        return self.merged.table


class TableMasks:
    """The decisions about one table, and the maskers of its masked columns."""

    def __init__(self, policy: MaskingPolicy, table: Table) -> None:
        self.table = table
        self.decisions: dict[str, Decision] = {c.name: _decide(policy, table, c) for c in table.columns}
        self._policy = policy
        self._maskers: dict[str, Masker] | None = None

    def is_masked(self, column: Column) -> bool:
        """Whether the column's values leave as masks."""
        return self.decisions[column.name].masked

    def is_excluded(self, column: Column) -> bool:
        """Whether the column does not leave at all."""
        return self.decisions[column.name].excluded

    def is_hidden(self, column: Column) -> bool:
        """Whether nothing may show the column's values; a dropped column, that nobody decided about, is."""
        decision = self.decisions.get(column.name)
        return decision is None or decision.masked or decision.excluded

    def masker(self, name: str) -> Masker | None:
        """The masker of a column; None when it is not masked. `ConfigurationError` when there is no key."""
        if self._maskers is None:
            made = {name: self._policy.masker(decision) for name, decision in self.decisions.items()}
            self._maskers = {name: masker for name, masker in made.items() if masker is not None}
        return self._maskers.get(name)

    def fingerprints(self) -> dict[str, tuple[str, str]]:
        """Per masked column how it is masked, and the fingerprint of the active key."""
        found = {}
        for name, decision in self.decisions.items():
            if decision.masked and self.masker(name) is not None and self._policy.keyring is not None:
                steps = "+".join(map(str, decision.normalise)) or "-"
                how = f"{decision.strategy} {decision.domain} {decision.scope} {steps}"
                found[name] = (how, self._policy.keyring.fingerprint())
        return found

    def apply(self, merged: MergedBatch) -> MaskedBatch:
        """The batch with every masked column masked; rows that fail are named, and masked nowhere by a raw value."""
        work = _Work(self)
        rows = work.rows(merged.rows)
        static = work.rows(merged.static)
        ranges = tuple(masked for deletion in merged.ranges if (masked := work.range(deletion)) is not None)
        return MaskedBatch(replace(merged, rows=rows, static=static, ranges=ranges), work.failures, work.report)


def _decide(policy: MaskingPolicy, table: Table, column: Column) -> Decision:
    for rule in policy.rules.rules:
        if rule.pattern.names_part_of(table.keyspace, table.name, column.name):
            raise ConfigurationError(
                f"expected a rule for the whole column {column.name}, found one for a part of it: parts are not "
                "masked alone yet",
                where=policy.rules.source,
                key=rule.pattern.text,
            )
    return policy.decide(table.keyspace, table.name, column.name, column.kind.value, column.type.cql)


@cache
def mask_input(cql_type: CqlType) -> Callable[[bytes], bytes | None]:
    """A value's bytes -> what is masked: the text itself, else its JSON text without outer quotes; None for empty."""
    if isinstance(cql_type, Scalar) and cql_type.name in ("text", "ascii"):
        return bytes
    render = to_json(cql_type, "destination")

    def texts(raw: bytes) -> bytes | None:
        if not raw:
            return None
        text = render(raw)
        return (text[1:-1] if text.startswith('"') else text).encode()

    return texts


@dataclass(frozen=True)
class _Column:
    """A masked column of a batch, with what its cells need: where they come from and their rows' keys."""

    column: Column
    masker: Masker
    source: Longs
    row: Longs
    ids: list[bytes]


@dataclass
class _Work:
    """The masking of one batch."""

    masks: TableMasks
    failures: dict[int, RowError] = field(default_factory=dict)
    report: MaskingReport = field(default_factory=MaskingReport)

    def rows(self, rows: Rows) -> Rows:
        table = self.masks.table
        keys = [
            self._key(column, array, rows)
            for column, array in zip(table.primary_key, (*rows.keys, *rows.clustering), strict=False)
        ]
        split = len(rows.keys)
        cells = self._cells(rows, rows.cells)
        return replace(rows, keys=tuple(keys[:split]), clustering=tuple(keys[split:]), cells=cells)

    def _key(self, column: Column, array: pa.Array, rows: Rows) -> pa.Array:
        masker = self.masks.masker(column.name)
        if masker is None:
            return array
        return self._mask(masker, column, column.type, array, rows.source, None)

    def _cells(self, rows: Rows, cells: Cells) -> Cells:
        value, path = cells.value, cells.path
        ids: list[bytes] = []
        for index, column in enumerate(self.masks.table.value_columns):
            if column.name not in self.masks.decisions:
                continue  # dropped: no destination loads it
            masker = self.masks.masker(column.name)
            if masker is None:
                continue
            at = np.flatnonzero(cells.column == index)
            if not len(at):
                continue
            ids = ids or _row_ids(rows)
            work = _Column(column, masker, cells.source, cells.row, ids)
            if isinstance(column.type, SetType) and column.type.multi_cell:
                path = self._replaced(path, at, work, column.type.element)
            else:
                for part, kind in _parts(column.type, cells.path, at):
                    value = self._replaced(value, part, work, kind)
        return replace(cells, value=value, path=path)

    def _replaced(self, array: pa.Array, at: Longs, work: _Column, kind: CqlType) -> pa.Array:
        """The array with the elements at `at`, values of type `kind`, masked."""
        row_ids = [work.ids[row] for row in work.row[at]]
        masked = self._mask(work.masker, work.column, kind, array.take(pa.array(at)), work.source[at], row_ids)
        take = np.arange(len(array))
        take[at] = len(array) + np.arange(len(at))
        return pa.concat_arrays([array, masked]).take(pa.array(take))

    def _mask(
        self,
        masker: Masker,
        column: Column,
        kind: CqlType,
        array: pa.Array,
        source: Longs,
        row_ids: list[bytes] | None,
    ) -> pa.Array:
        texts, unreadable = _inputs(kind, array)
        result = masker.try_mask_array(texts, row_ids)
        self.report += MaskingReport.counted(masker, result)
        for at in (*unreadable, *result.failed):
            message = f"column {self.masks.table.full_name}.{column.name}: a value could not be masked"
            self.failures[int(source[at])] = MaskingFailed(message)
        return result.values.cast(pa.binary())

    def range(self, deletion: RangeDeletion) -> RangeDeletion | None:
        """The deletion with its key and bounds masked; None, and a failure, where masking would lose its order."""
        table = self.masks.table
        try:
            key = tuple(self._one(c, v) for c, v in zip(table.partition_key, deletion.key, strict=True))
            if deletion.start is None or deletion.end is None:
                return replace(deletion, key=key)  # type: ignore[arg-type]  # key parts are never null
            start, end = self._bounds(deletion.start, deletion.end)
            return replace(deletion, key=key, start=start, end=end)  # type: ignore[arg-type]
        except RowError as error:
            self.failures[deletion.source] = error
            return None

    def _bounds(self, start: Bound, end: Bound) -> tuple[Bound, Bound]:
        """Masks keep equality, not order: a masked value may stand only where both bounds hold the same prefix."""
        table = self.masks.table
        for at, column in enumerate(table.clustering):
            if not self.masks.is_masked(column) or (len(start.values) <= at and len(end.values) <= at):
                continue
            last_excluded = (len(start.values) == at + 1 and not start.inclusive) or (
                len(end.values) == at + 1 and not end.inclusive
            )
            if start.values[: at + 1] != end.values[: at + 1] or len(start.values) <= at or last_excluded:
                raise OrderLostByMask(
                    f"a range delete of {table.full_name} compares the masked clustering column {column.name}"
                )
        masked = []
        for bound in (start, end):
            values = (self._one(c, v) for c, v in zip(table.clustering, bound.values, strict=False))
            masked.append(Bound(tuple(values), bound.inclusive))
        return masked[0], masked[1]

    def _one(self, column: Column, value: bytes | None) -> bytes | None:
        masker = self.masks.masker(column.name)
        if masker is None or value is None:
            return value
        texts, unreadable = _inputs(column.type, pa.array([value], pa.binary()))
        if unreadable:
            raise MaskingFailed(f"column {self.masks.table.full_name}.{column.name}: a value could not be masked")
        result = masker.try_mask_array(texts)
        if result.failed:
            raise MaskingFailed(f"column {self.masks.table.full_name}.{column.name}: a value could not be masked")
        text = result.values[0].as_py()
        return None if text is None else text.encode()


def _parts(kind: CqlType, paths: pa.Array, at: Longs) -> Iterator[tuple[Longs, CqlType]]:
    """(cells, type of their values) of a column; the fields of a non-frozen user type have types of their own."""
    if isinstance(kind, UserType) and kind.multi_cell:
        fields = np.array([int.from_bytes(path or b"", "big") for path in paths.take(pa.array(at)).to_pylist()])
        for index, field_type in enumerate(kind.field_types):
            if (fields == index).any():
                yield at[fields == index], field_type
    elif kind.multi_cell and isinstance(kind, ListType):
        yield at, kind.element
    elif kind.multi_cell and isinstance(kind, MapType):
        yield at, kind.value
    else:
        yield at, kind


def _inputs(kind: CqlType, array: pa.Array) -> tuple[pa.Array, list[int]]:
    """What is masked of each value, and the indexes of values that their type cannot read."""
    convert = mask_input(kind)
    if convert is bytes:
        return array, []
    encoded = array.dictionary_encode()
    unreadable: set[int] = set()
    texts: list[bytes | None] = []
    for number, raw in enumerate(encoded.dictionary.to_pylist()):
        try:
            texts.append(convert(raw))
        except ValueError:
            texts.append(None)
            unreadable.add(number)
    inputs = pa.array(texts, pa.binary()).take(encoded.indices)
    bad = [at for at, code in enumerate(encoded.indices.to_pylist()) if code in unreadable] if unreadable else []
    return inputs, bad


def _row_ids(rows: Rows) -> list[bytes]:
    """The primary key's bytes of each merged row, parts separated by their lengths."""
    if not len(rows):
        return []
    parts = [array.to_pylist() for array in (*rows.keys, *rows.clustering)]
    return [b"".join(len(p or b"").to_bytes(4, "big") + (p or b"") for p in row) for row in zip(*parts, strict=True)]
