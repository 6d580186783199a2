"""Tables of every shape, and mutations of them, drawn by Hypothesis and written by the tests' encoder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import UserType
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import MICROS, NOW, make_table

Draw = Any
"""Hypothesis's function that draws from a strategy."""

_KEYS = ["int", "text", "bigint", "uuid", "boolean", "frozen<list<int>>"]
_VALUES = ["int", "text", "bigint", "uuid", "list<text>", "set<int>", "map<text, int>", "name", "frozen<list<int>>"]
_VALUES += ["smallint", "vector<float, 2>", "vector<text, 2>", "counter"]
_BOUND_KINDS = [en.EXCL_END, en.INCL_START, en.INCL_END, en.EXCL_START, en.EXCL_END_INCL_START, en.INCL_END_EXCL_START]
_BOUNDARIES = (en.EXCL_END_INCL_START, en.INCL_END_EXCL_START)
_TIMES = st.sampled_from([MICROS, MICROS + 1, en.EPOCH_MICROS, 0, en.NO_TIMESTAMP, 2**63 - 1])
_SECONDS = st.sampled_from([NOW, NOW + 1, en.EPOCH_SECONDS, 0, 2**31 - 1, 2**32 - 1])
_WIDTHS = st.sampled_from([0, 1, 2, 3, 3, 5, 8, 63, 64, 65, 70])


@st.composite
def tables(draw: Draw) -> Table:
    """A table; its columns' names sort as they are numbered."""
    clustering = draw(st.lists(st.sampled_from(_KEYS), max_size=3))
    if draw(st.integers(0, 19)) == 0:
        clustering = ["int", "text"] * 17
    names = [f"c{at:03}" for at in range(draw(_WIDTHS))]
    static = draw(st.lists(st.sampled_from(_VALUES), max_size=2)) if clustering else []
    dropped = [(name, "text", draw(_TIMES)) for name in draw(st.sets(st.sampled_from([*names[:3], "gone"])))]
    return make_table(
        key=[
            (f"p{at}", kind) for at, kind in enumerate(draw(st.lists(st.sampled_from(_KEYS), min_size=1, max_size=2)))
        ],
        clustering=[(f"k{at:02}", kind) for at, kind in enumerate(clustering)],
        static=[(f"s{at}", kind) for at, kind in enumerate(static)],
        regular=[(name, draw(st.sampled_from(_VALUES))) for name in names],
        dropped=dropped,
        table_id=uuid.UUID(int=draw(st.integers(1, 3))),
    )


def subset_of(present: Sequence[int], count: int) -> bytes:
    """A column subset (6.8)."""
    missing = [at for at in range(count) if at not in present]
    if count < 64:
        return en.vint(sum(1 << at for at in missing))
    listed = present if len(present) < count // 2 else missing
    return en.vint(len(missing)) + b"".join(map(en.vint, listed))


@dataclass
class Writer:
    """Writes mutations of some tables, each choice drawn."""

    draw: Draw
    tables: Sequence[Table]

    def mutation(self) -> bytes:
        """One or two updates."""
        return en.mutation(*(self._update() for _ in range(self._number(1, 2))))

    def _update(self) -> bytes:
        table = self.draw(st.sampled_from(self.tables))
        named = self.draw(st.sampled_from([*(one.id for one in self.tables), uuid.UUID(int=9)])).bytes
        table_id = named if self._number(0, 9) == 0 else table.id.bytes
        key = self._key(table)
        if self._number(0, 29) == 0:
            return en.empty_update(table_id, key)
        regular = self._header(table.regular)
        static = self._header(table.static) if table.static and self.draw(st.booleans()) else None
        unfiltered = [self._unfiltered(table, regular) for _ in range(self._number(0, 3))]
        return en.update(
            table_id,
            key,
            unfiltered,
            columns=self._names(regular),
            static_columns=None if static is None else self._names(static),
            static=b"" if static is None else self._row(b"", static, extended=1),
            deletion=self._deletion() if self._number(0, 4) == 0 else None,
        )

    def _names(self, columns: Sequence[Column]) -> list[str]:
        names = [column.name for column in columns]
        if self._number(0, 14) == 0:
            names.append(self.draw(st.sampled_from(["gone", "nobody", "c000", ""])))
        return names

    def _header(self, columns: Sequence[Column]) -> list[Column]:
        if self.draw(st.booleans()):
            return list(columns)
        return [column for column in columns if self._number(0, 3)]

    def _key(self, table: Table) -> bytes:
        parts = [self._bytes(column) for column in table.partition_key]
        return parts[0] if len(parts) == 1 else en.composite(*parts)

    def _unfiltered(self, table: Table, columns: Sequence[Column]) -> bytes:
        if table.clustering and self._number(0, 3) == 0:
            kind = self.draw(st.sampled_from(_BOUND_KINDS))
            prefix = table.clustering[: self._number(0, len(table.clustering))]
            deletions = [self._deletion() for _ in range(2 if kind in _BOUNDARIES else 1)]
            return bytes([2, kind]) + en.number(len(prefix), 2) + self._clustering(prefix) + b"".join(deletions)
        return self._row(self._clustering(table.clustering), columns)

    def _clustering(self, columns: Sequence[Column]) -> bytes:
        out = b""
        for first in range(0, len(columns), 32):
            batch = columns[first : first + 32]
            states = [self.draw(st.sampled_from([0, 0, 0, 1, 2])) for _ in batch]
            out += en.vint(sum(state << 2 * at for at, state in enumerate(states)))
            out += b"".join(
                self._written(c, self._bytes(c)) for c, state in zip(batch, states, strict=True) if not state
            )
        return out

    def _row(self, prefix: bytes, columns: Sequence[Column], extended: int | None = None) -> bytes:
        all_there = self.draw(st.booleans())
        present = [at for at in range(len(columns)) if all_there or self._number(0, 2)]
        complex_deletions = self._number(0, 3) == 0
        live = en.Liveness(self.draw(_TIMES)) if self.draw(st.booleans()) else None
        if live is not None and self._number(0, 3) == 0:
            live = en.Liveness(live.micros, 60, self.draw(_SECONDS))
        return en.row(
            prefix,
            [self._column(columns[at], complex_deletions) for at in present],
            live=live,
            deletion=self._deletion() if self._number(0, 5) == 0 else None,
            subset=None if all_there else subset_of(present, len(columns)),
            flags=0x40 if complex_deletions else 0,
            extended=extended,
        )

    def _column(self, column: Column, with_deletion: bool) -> bytes:
        if not column.type.multi_cell:
            return self._cell(column, None)
        cells = [self._cell(column, self._path(column)) for _ in range(self._number(0, 3))]
        return en.collection(cells, self._deletion() if with_deletion else b"")

    def _path(self, column: Column) -> bytes:
        if isinstance(column.type, UserType):
            return en.number(self._number(0, 3), 2)
        return bytes(self.draw(st.binary(max_size=16)))

    def _cell(self, column: Column, path: bytes | None) -> bytes:
        fixed = not column.type.multi_cell and column.type.fixed_length is not None
        value = None if self._number(0, 3) == 0 else b"" if self._number(0, 7) == 0 else self._bytes(column)
        expires = value is not None and self._number(0, 3) == 0
        return en.cell(
            value,
            at=self.draw(st.none() | _TIMES),
            local=self.draw(_SECONDS),
            ttl=60 if expires else None,
            path=path,
            fixed=fixed,
        )

    def _written(self, column: Column, value: bytes) -> bytes:
        return value if column.type.fixed_length is not None else en.sized(value)

    def _bytes(self, column: Column) -> bytes:
        length = column.type.fixed_length
        size = length if length is not None and not column.type.multi_cell else self.draw(st.sampled_from([1, 2, 4, 9]))
        return bytes(self.draw(st.integers(0, 255)) for _ in range(1)) * size

    def _deletion(self) -> bytes:
        return en.BASE.deletion(self.draw(_TIMES), self.draw(_SECONDS))

    def _number(self, least: int, most: int) -> int:
        return int(self.draw(st.integers(least, most)))
