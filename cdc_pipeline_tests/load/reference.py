"""What Cassandra would answer after some changes, in whatever order they came: one row at a time, slow and plain.

The rules are the format document's 8.3 and 8.4: of the versions of a cell the greatest (timestamp, rank, expiry, TTL
reversed, bytes) wins, rank 0 live, 1 expiring, 2 tombstone; a deletion hides what is not younger than itself; a row is
there when its liveness or one of its cells is. A truncation is a deletion of everything. A counter is the sum of its
shards, of each counter id the one with the greatest clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cmp_to_key
from typing import Any

from cdc_pipeline.change import NO_TIMESTAMP, Bound, RowKind
from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, ListType, MapType, Scalar, SetType, UserType
from cdc_pipeline_tests.load.changes import Cell, Change
from cdc_pipeline_tests.types.values import counted, fields, pairs, rank

Row = dict[str, bytes | None]
Version = tuple[int, int, int, int, bytes]
Key = tuple[bytes, ...]
Clustering = tuple[bytes | None, ...]

Shard = tuple[bytes, int, int, int]
"""Counter id, clock, count, writetime (µs)."""

STATIC: Clustering = (b"the static row",)


class Reference:
    """The merged state of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.shards: dict[tuple[Key, Clustering, str], set[Shard]] = defaultdict(set)
        self.cells: dict[tuple[Key, Clustering, str, Any], Version] = {}
        self.paths: dict[tuple[Key, Clustering, str, Any], bytes | None] = {}
        self._kinds = {column.name: column.type for column in table.values}
        self.column_deletions: dict[tuple[Key, Clustering, str], int] = {}
        self.liveness: dict[tuple[Key, Clustering], tuple[int, int, int]] = {}
        self.row_deletions: dict[tuple[Key, Clustering], int] = {}
        self.ranges: dict[Key, list[tuple[Bound | None, Bound | None, int]]] = defaultdict(list)
        self.rows: set[tuple[Key, Clustering]] = set()
        self.truncated = NO_TIMESTAMP
        self._clusterings: dict[tuple[Key, str], Clustering] = {}
        self._forms: dict[tuple[Key, Clustering], tuple[int, Clustering]] = {}

    def truncate(self, ts: int) -> None:
        """Empties the table at a time (µs): all that was written at or before it is gone, whenever it comes."""
        self.truncated = max(ts, self.truncated)

    def add(self, change: Change) -> None:
        """Merges a change."""
        if change.kind in (RowKind.RANGE, RowKind.PARTITION):
            assert change.deleted is not None
            start, end = change.bounds or (None, None)
            self.ranges[change.key].append((start, end, change.deleted))
            return
        place = (change.key, STATIC if change.kind == RowKind.STATIC else self._clustering(change))
        self.rows.add(place)
        if change.live is not None:
            liveness = (change.live, change.live_expires or 0, -change.live_ttl if change.live_expires else 0)
            self.liveness[place] = max(liveness, self.liveness.get(place, liveness))
        if change.deleted is not None:
            self.row_deletions[place] = max(change.deleted, self.row_deletions.get(place, NO_TIMESTAMP))
        for cell in change.cells:
            self._add_cell(place, cell)

    def _clustering(self, change: Change) -> Clustering:
        """What rows that are one to Cassandra have in common: of 1.0 and 1.00 that which the log has first is shown."""
        kinds = [column.type for column in self.table.clustering]
        ranks = repr([rank(kind, value) for kind, value in zip(kinds, change.clustering, strict=True)])
        clustering = self._clusterings.setdefault((change.key, ranks), change.clustering)
        written = (change.at or 0, change.clustering)
        self._forms[change.key, clustering] = min(written, self._forms.get((change.key, clustering), written))
        return clustering

    def _add_cell(self, place: tuple[Key, Clustering], cell: Cell) -> None:
        if cell.deletes:
            deleted = self.column_deletions.get((*place, cell.column), NO_TIMESTAMP)
            self.column_deletions[*place, cell.column] = max(deleted, cell.ts)
            return
        if self._is_counter(cell.column):
            if cell.value is None:
                deleted = self.column_deletions.get((*place, cell.column), NO_TIMESTAMP)
                self.column_deletions[*place, cell.column] = max(deleted, cell.ts)
            else:
                self.shards[*place, cell.column] |= {(*shard, cell.ts) for shard in shards(cell.value)}
            return
        order = 2 if cell.value is None else 1 if cell.expires is not None else 0
        version = (cell.ts, order, cell.expires or 0, -cell.ttl if order == 1 else 0, cell.value or b"")
        where = (*place, cell.column, self.path(cell.column, cell.path))
        if where not in self.cells or (version, cell.path or b"") > (self.cells[where], self.paths[where] or b""):
            self.cells[where], self.paths[where] = version, cell.path

    def path(self, column: str, path: bytes | None) -> Any:
        """What two paths have in common that are one to Cassandra, as 1.0 and 1.00 are."""
        kind = self._kinds.get(column)
        part = kind.key if isinstance(kind, MapType) else kind.element if isinstance(kind, SetType) else None
        return path if part is None or path is None else repr(rank(part, path))

    def _is_counter(self, column: str) -> bool:
        return any(one.name == column and one.type == Scalar("counter") for one in self.table.values)

    def select(self, now: int) -> list[Row]:
        """The rows of `SELECT *` at a time (s since 1970), each column as its serialized value."""
        found: list[Row] = []
        with_rows: set[Key] = set()
        for key, clustering in self.rows:
            if clustering != STATIC and (row := self._row(key, clustering, now)) is not None:
                with_rows.add(key)
                found.append(row | self._statics(key, now))
        for key in {key for key, clustering in self.rows if clustering == STATIC} - with_rows:
            statics = self._statics(key, now)
            if any(value is not None for value in statics.values()):
                nothing = dict.fromkeys(column.name for column in self.table.clustering + self.table.regular)
                found.append(self._names(self.table.partition_key, key) | nothing | statics)
        return found

    def _row(self, key: Key, clustering: Clustering, now: int) -> Row | None:
        floor = self._floor(key, clustering)
        values = {c.name: self._value(key, clustering, c, floor, now) for c in self.table.regular}
        written, expires, _ = self.liveness.get((key, clustering), (NO_TIMESTAMP, 0, 0))
        alive = written > floor and (not expires or expires > now)
        if not alive and all(value is None for value in values.values()):
            return None
        _, shown = self._forms[key, clustering]
        return self._names(self.table.partition_key, key) | self._names(self.table.clustering, shown) | values

    def _statics(self, key: Key, now: int) -> Row:
        floor = max([ts for start, _, ts in self.ranges[key] if start is None], default=NO_TIMESTAMP)
        floor = max(floor, self.truncated)
        return {column.name: self._value(key, STATIC, column, floor, now) for column in self.table.static}

    def _names(self, columns: Sequence[Column], values: Sequence[bytes | None]) -> Row:
        return {column.name: value for column, value in zip(columns, values, strict=True)}

    def _floor(self, key: Key, clustering: Clustering) -> int:
        """The greatest deletion over a row: its own, and those of ranges and of the partition."""
        covering = [ts for start, end, ts in self.ranges[key] if self._covers(start, end, clustering)]
        return max([self.row_deletions.get((key, clustering), NO_TIMESTAMP), self.truncated, *covering])

    def _covers(self, start: Bound | None, end: Bound | None, clustering: Clustering) -> bool:
        if start is None or end is None:
            return True
        after_start = self._compare(clustering, start.values)
        before_end = self._compare(clustering, end.values)
        return (after_start > 0 or (after_start == 0 and start.inclusive)) and (
            before_end < 0 or (before_end == 0 and end.inclusive)
        )

    def _compare(self, clustering: Clustering, prefix: Clustering) -> int:
        """-1, 0 or 1: the row before, within or behind the rows with this prefix, in storage order."""
        for column, value, bound in zip(self.table.clustering, clustering, prefix, strict=False):
            ours, theirs = rank(column.type, value), rank(column.type, bound)
            if ours != theirs:
                return 1 if (ours > theirs) != column.descending else -1
        return 0

    def _value(self, key: Key, clustering: Clustering, column: Column, floor: int, now: int) -> bytes | None:
        if column.type == Scalar("counter"):
            return self._counter((key, clustering, column.name), floor)
        if not column.type.multi_cell:
            version = self.cells.get((key, clustering, column.name, None))
            return version[4] if version is not None and _alive(version, floor, now) else None
        floor = max(floor, self.column_deletions.get((key, clustering, column.name), NO_TIMESTAMP))
        alive = {
            self.paths[where]: version[4]
            for where, version in self.cells.items()
            if where[:3] == (key, clustering, column.name) and _alive(version, floor, now)
        }
        return collected(column.type, alive) if alive else None

    def _counter(self, place: tuple[Key, Clustering, str], floor: int) -> bytes | None:
        """A deletion of the column hides all, whatever its time, while no other deletion hides that one."""
        if self.column_deletions.get(place, NO_TIMESTAMP) > floor:
            return None
        alive: dict[bytes, tuple[int, int]] = {}
        for counter, clock, count, ts in self.shards[place]:
            if ts > floor:
                alive[counter] = max((clock, count), alive.get(counter, (clock, count)))
        return (sum(count for _, count in alive.values()) % 2**64).to_bytes(8, "big") if alive else None


def _alive(version: Version, floor: int, now: int) -> bool:
    ts, order, expiry, _, _ = version
    return ts > floor and (order == 0 or (order == 1 and expiry > now))


def shards(context: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(counter id, clock, count) of a context of global shards, behind its header of two bytes for each."""
    count = int.from_bytes(context[:2], "big")
    for at in range(2 + 2 * count, 2 + 34 * count, 32):
        clock, number = (int.from_bytes(context[at + n : at + n + 8], "big", signed=True) for n in (16, 24))
        yield context[at : at + 16], clock, number


def collected(kind: CqlType, cells: dict[bytes | None, bytes]) -> bytes:
    """A multi-cell column's living cells as the frozen value that `SELECT` returns."""
    if isinstance(kind, UserType):
        by_index = {int.from_bytes(path or b"", "big"): value for path, value in cells.items()}
        return fields(*[by_index.get(at) for at in range(max(by_index) + 1)])
    order: CqlType = Scalar("timeuuid")
    if isinstance(kind, SetType):
        order = kind.element
    elif isinstance(kind, MapType):
        order = kind.key
    paths = sorted(cells, key=cmp_to_key(lambda left, right: _sign(rank(order, left), rank(order, right))))
    if isinstance(kind, SetType):
        return counted(*paths)
    if isinstance(kind, MapType):
        return pairs(*[item for path in paths for item in (path, cells[path])])
    assert isinstance(kind, ListType)
    return counted(*[cells[path] for path in paths])


def _sign(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def reference(table: Table, changes: Iterable[Change]) -> Reference:
    """The state after these changes."""
    state = Reference(table)
    for change in changes:
        state.add(change)
    return state
