"""What nobody can see any more is taken away, once nothing was written there for as long as a late write may take.

Nothing is a transaction here, a row may lie in pieces in several parts, and a mutation takes one part after another.
So that no piece shows for a moment because the one that hid it went first:

1. A dead row in several pieces, some of which would show by themselves, is written once more, whole, as it is merged,
   with the deletions over it as its own. That piece alone hides all others, and shows nothing, merged with them or not.
2. One mutation deletes the pieces of dead rows that would show by themselves. The piece of 1 is none of them.
3. Another deletes rows that consist of nothing but pieces that show nothing: whichever go first, what is left cannot
   show, for a cell of merged pieces is a cell of one of them, under no lower deletion.

A mutation takes only pieces whose last write is old: a write that comes meanwhile is kept, and so is what merges with
it. Ranges are written into the rows they cover before they go. Written again, all of it is the same: a pass that was
cut off is made good by the next. Dead elements of rows that show, and counters, are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cdc_pipeline.load.clickhouse import ddl, whole
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.ddl import APPLIED, DELETED, LAST, LASTING, LIVE, PASSING, TOMBSTONE
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.options import Cluster
from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline.load.sink import Purged


def purge(
    connection: Connection, plan: TablePlan, retention: float, cluster: Cluster | None, *, merged: bool
) -> Purged:
    """One pass over a table: what is dead, and was written last, over `retention` seconds ago goes. May be repeated."""
    done = Purged(plan.table.full_name, retention)
    if plan.table.is_counter:
        return done
    ((now,),) = connection.rows("SELECT toUnixTimestamp(now())")
    before = max(0, math.floor(now - retention))
    states = [(name, key) for name, _, key in ddl.tables(plan) if name != plan.ranges]
    for table, key in states:
        state = _State(plan, table, key, _columns(connection, table), before, merged)
        done.rows += _take_away(connection, state, cluster)
        if plan.has_clustering:
            connection.insert_from(state.covered())
    if plan.has_clustering:
        old = f"{quoted(APPLIED)} < {before}"
        keys = ", ".join(map(quoted, (*plan.partition_names, "lo", "hi")))
        done.ranges = _count(connection, f"SELECT DISTINCT {keys} FROM {plan.ranges} WHERE {old}")
        if done.ranges:
            _delete(connection, plan.ranges, old, cluster)
    return done


def optimize(connection: Connection, plan: TablePlan, cluster: Cluster | None) -> None:
    """Has the server merge all parts of a table's state into one."""
    for table, _, _ in ddl.tables(plan):
        connection.run(f"OPTIMIZE TABLE {table}{ddl.on(cluster)} FINAL")


def _take_away(connection: Connection, state: _State, cluster: Cluster | None) -> int:
    """Dead rows; returns how many."""
    lone = _count(connection, state.hidden("= 1"))
    apart = _count(connection, state.hidden("> 1"))
    if apart:
        connection.insert_from(state.whole())
    if lone or apart:
        shows = f"{state.old} AND {state.alive('', state.own)}"
        _delete(connection, state.table, f"{shows} AND {state.key} IN ({state.dead()})", cluster)
    rows = _count(connection, state.empty())
    if rows:
        gone = f"{state.old} AND NOT {state.alive('', state.own)} AND {state.key} IN ({state.empty()})"
        _delete(connection, state.table, gone, cluster)
    return rows + lone


@dataclass(frozen=True)
class _State:
    """A state table with its sorting key and (column, type) of all it holds: also what other schemas wrote, which
    counts as showing. `before` (s): what was written or expired then or later is not old."""

    plan: TablePlan
    table: str
    sorting: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    before: int
    merged: bool

    @property
    def own(self) -> str:
        """The deletion of a piece."""
        return quoted(DELETED)

    @property
    def old(self) -> str:
        """Whether a piece was written long ago."""
        return f"{quoted(APPLIED)} < {self.before}"

    @property
    def key(self) -> str:
        """The key, of texts where it may be NULL, which is in no set."""
        types = dict(self.columns)
        listed = (f"ifNull(toString({quoted(n)}), '')" if "Nullable(" in types[n] else quoted(n) for n in self.sorting)
        return f"({', '.join(listed)})"

    @property
    def is_static(self) -> bool:
        return self.table == self.plan.static_state

    def alive(self, source: str, floor: str) -> str:
        """Whether anything of a row or piece above `floor` shows, by its cells or, where the view asks, without."""
        some = []
        for name, kind in self.columns:
            column = source + quoted(name)
            if name == LIVE:
                some.append(self._lives(column, floor))
            elif name.startswith("v") and "(maxMap," in kind:
                lowest = f"greatest({floor}, {source}{quoted('d' + name[1:])})"
                some.append(f"arrayExists(one -> {self._lives('one', lowest)}, mapValues({column}))")
            elif name.startswith("v"):
                some.append(self._lives(column, floor))
        if self.plan.fast and not self.is_static:
            lasting, passing, last = (source + quoted(name) for name in (LASTING, PASSING, LAST))
            some += [f"{lasting} > {floor}", f"({passing} > {floor} AND {last} >= {self._rank})"]
        return f"({' OR '.join(some or ['0'])})"

    @property
    def _rank(self) -> int:
        """The least rank that was not over then."""
        return (self.before + 1) << 31

    def _lives(self, cell: str, floor: str) -> str:
        w, x = f"tupleElement({cell}, 'w')", f"tupleElement({cell}, 'x')"
        return f"({w} > {floor} AND ({x} < 2 OR ({x} >= {self._rank} AND {x} < {TOMBSTONE})))"

    def rows(self) -> str:
        """Whole rows."""
        if self.merged:
            return f"SELECT {self._listed()} FROM {self.table} FINAL"
        listed = [
            quoted(name) if name in self.sorting else f"{_function(kind)}({quoted(name)}) AS {quoted(name)}"
            for name, kind in self.columns
        ]
        return f"SELECT {', '.join(listed)} FROM {self.table} GROUP BY {', '.join(map(quoted, self.sorting))}"

    def dead(self, what: str = "") -> str:
        """Whole rows that show nothing and were written long ago: their keys, or something else."""
        names = [name for name, _ in self.columns]
        rows = whole.floored(self.plan, f"({self.rows()}) AS e", names, static=self.is_static)
        return f"SELECT {what or self.key} FROM ({rows}) AS s WHERE {self.old} AND NOT {self.alive('', 'f')}"

    def hidden(self, pieces: str) -> str:
        """The keys of dead rows in one or in several pieces, some of which would show by themselves."""
        return f"SELECT * FROM ({self.dead()} AND {self.key} IN ({self._showing(pieces)}))"

    def whole(self) -> str:
        """Writes dead rows once more, in one piece, with what is over them."""
        what = ", ".join("f" if name == DELETED else quoted(name) for name, _ in self.columns)
        return (
            f"INSERT INTO {self.table} ({self._listed()}) {self.dead(what)} AND {self.key} IN ({self._showing('> 1')})"
        )

    def empty(self) -> str:
        """The keys of rows of which no piece shows anything, nor was written lately."""
        none = f"max({self.alive('', self.own)}) = 0 AND max({quoted(APPLIED)}) < {self.before}"
        if self.plan.fast and not self.is_static:  # of two pieces, one may have the stamp and the other the rank
            passing, last, deleted = (f"max({quoted(name)})" for name in (PASSING, LAST, DELETED))
            none += f" AND NOT ({passing} > {deleted} AND {last} >= {self._rank})"
        keys = ", ".join(map(quoted, self.sorting))
        return f"SELECT {self.key} FROM {self.table} GROUP BY {keys} HAVING {none}"

    def covered(self) -> str:
        """Writes old ranges into the rows they cover."""
        plan = self.plan
        keys = [name for name, _ in self.columns if name == "r:ck" or not (name.startswith(("r:", "v", "d", "o")))]
        stamp = whole.covering(static=self.is_static)
        listed = ", ".join(map(quoted, (*keys, DELETED, APPLIED)))
        chosen = ", ".join(f"e.{quoted(name)}" for name in keys)
        return (
            f"INSERT INTO {self.table} ({listed}) SELECT {chosen}, {stamp} AS stamp, e.{quoted(APPLIED)} "
            f"FROM (SELECT {listed} FROM ({self.rows()})) AS e "
            f"INNER JOIN ({whole.by_partition(plan, self.old)}) AS g ON {whole.same(plan, 'e', 'g')} "
            f"WHERE stamp > e.{quoted(DELETED)}"
        )

    def _showing(self, pieces: str) -> str:
        keys = ", ".join(map(quoted, self.sorting))
        shows = f"max({self.alive('', self.own)}) = 1"
        return f"SELECT {self.key} FROM {self.table} GROUP BY {keys} HAVING count() {pieces} AND {shows}"

    def _listed(self) -> str:
        return ", ".join(quoted(name) for name, _ in self.columns)


def _function(kind: str) -> str:
    """The function that merges a column."""
    return kind.split("(")[1].split(",")[0]


def _columns(connection: Connection, table: str) -> tuple[tuple[str, str], ...]:
    """(column, type) of what a state table holds."""
    found = connection.rows(f"DESCRIBE TABLE {table}")
    return tuple((str(row[0]), str(row[1])) for row in found)


def _count(connection: Connection, query: str) -> int:
    return int(connection.rows(f"SELECT count() FROM ({query})")[0][0])


def _delete(connection: Connection, table: str, condition: str, cluster: Cluster | None) -> None:
    """A mutation, awaited. That its subquery may be answered differently later is no harm (see above)."""
    waits = 2 if cluster is not None and cluster.replicated else 1
    connection.run(
        f"ALTER TABLE {table}{ddl.on(cluster)} DELETE WHERE {condition} "
        f"SETTINGS mutations_sync = {waits}, allow_nondeterministic_mutations = 1"
    )
