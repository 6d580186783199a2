"""What nobody can see any more is taken away, once it has been so for as long as a late older write may take.

A pass sees that something in a row is dead (the row itself, or elements of its collections) and notes when; every merge
that touches the row clears the note; a later pass takes away what was dead at a note that is old enough. So retention
counts from when a pass saw what the pipeline had applied, never from a deletion's own timestamp: an old recording is
not purged at once. Ranges in the ledger count from when they were applied.

Each step is a short transaction over a few megabytes, which skips rows that a lane holds, so that lanes never wait for
one another because of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from cdc_pipeline.load.postgres import merge
from cdc_pipeline.load.postgres.ddl import DELETED, LIVE_W, LIVE_X, SEEN, TOMBSTONE
from cdc_pipeline.load.postgres.names import quoted
from cdc_pipeline.load.postgres.plan import TablePlan, ValueColumn
from cdc_pipeline.load.sink import Purged

Connection = psycopg.Connection[Any]

_BLOCKS = 1024
"""Pages of 8 KiB that one transaction looks at."""

_PARTS = """
SELECT p.oid::regclass::text, pg_relation_size(p.oid) / current_setting('block_size')::bigint
FROM (SELECT to_regclass(%(table)s)::oid UNION ALL
      SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(%(table)s)) p(oid)
WHERE p.oid IS NOT NULL
"""


def purge(connection: Connection, plan: TablePlan, retention: float) -> Purged:
    """One pass over a table: what was seen dead, or applied, over `retention` seconds ago goes. May be repeated."""
    done = Purged(plan.table.full_name, retention)
    states = [(plan.state, plan.regular, True)] + ([(plan.static_state, plan.static, False)] if plan.static else [])
    for table, values, has_liveness in states:
        dead = _Dead(plan, values, has_liveness, _unknown(connection, table, values))
        for part, first in _blocks(connection, table):
            done.rows += _run(connection, _taken_away(part, dead), first, retention)
            done.stripped += _run(connection, _stripped(part, dead), first, retention) if dead.cells else 0
            done.noted += _run(connection, _noted(part, dead), first, retention)
    if plan.has_clustering:
        for part, first in _blocks(connection, plan.ranges):
            done.ranges += _run(connection, _forgotten(part), first, retention)
    return done


@dataclass(frozen=True)
class _Dead:
    """Conditions about a row `s` of a state table at a clock, an `x` (`cdc.now_x`)."""

    plan: TablePlan
    values: tuple[ValueColumn, ...]
    has_liveness: bool
    unknown: tuple[str, ...]

    @property
    def cells(self) -> list[ValueColumn]:
        return [value for value in self.values if value.is_cells]

    @property
    def floor(self) -> str:
        gone = f"(SELECT max(z.ts) FROM cdc.cdc_truncations z WHERE z.table_id = '{self.plan.table.id}')"
        return f"coalesce(greatest(s.{DELETED}, {gone}), {-(2**63)})"

    def visible(self, clock: str) -> str:
        """Whether anything of it shows; what a column holds that this plan does not know counts as showing."""
        some = [f"s.{name} IS NOT NULL" for name in self.unknown]
        if self.has_liveness:
            some.append(f"(s.{LIVE_W} > {self.floor} AND (s.{LIVE_X} IS NULL OR s.{LIVE_X} > {clock}))")
        for value in self.values:
            if value.is_cells:
                some.append(f"EXISTS (SELECT 1 FROM unnest(s.{value.part('v')}) e WHERE {self.alive(value, clock)})")
            else:
                x = f"s.{value.part('x')}"
                some.append(f"(s.{value.part('w')} > {self.floor} AND {_lives(x, clock)})")
        return f"coalesce({' OR '.join(some or ['false'])}, false)"

    def alive(self, value: ValueColumn, clock: str) -> str:
        """Whether an element `e` of a collection shows."""
        return f"e.w > greatest({self.floor}, s.{value.part('d')}) AND {_lives('e.x', clock)}"

    def has_dead_cells(self, clock: str) -> str:
        """Whether a collection holds elements that do not show."""
        some = [
            f"EXISTS (SELECT 1 FROM unnest(s.{value.part('v')}) e WHERE NOT ({self.alive(value, clock)}))"
            for value in self.cells
        ]
        return " OR ".join(some) or "false"


def _lives(x: str, clock: str) -> str:
    return f"({x} IS NULL OR ({x} > {clock} AND {x} < {TOMBSTONE}))"


_AT_NOTE = f"((floor(extract(epoch FROM s.{SEEN}))::bigint + 1 << 30) - 1)"
_OLD = f"s.{SEEN} < now() - make_interval(secs => <retention>)"


def _chosen(part: str, condition: str) -> str:
    """The places of some rows, locked; those that a lane holds are left for the next pass."""
    return (
        f"ARRAY(SELECT s.ctid FROM ONLY {part} s WHERE s.ctid >= '(<first>,0)' AND s.ctid < '(<next>,0)' "
        f"AND {condition} FOR UPDATE SKIP LOCKED)"
    )


def _taken_away(part: str, dead: _Dead) -> str:
    return f"DELETE FROM ONLY {part} WHERE ctid = ANY({_chosen(part, f'{_OLD} AND NOT {dead.visible(_AT_NOTE)}')})"


def _stripped(part: str, dead: _Dead) -> str:
    """Rows that show lose the elements that were dead when they were noted."""
    sets = [
        f"{value.part('v')} = (SELECT array_agg(e ORDER BY e.path) FROM unnest(s.{value.part('v')}) e "
        f"WHERE {dead.alive(value, _AT_NOTE)})"
        for value in dead.cells
    ]
    return f"UPDATE ONLY {part} s SET {', '.join(sets)}, {SEEN} = NULL WHERE s.ctid = ANY({_chosen(part, _OLD)})"


def _noted(part: str, dead: _Dead) -> str:
    now = "cdc.now_x()"
    condition = f"s.{SEEN} IS NULL AND (NOT {dead.visible(now)} OR {dead.has_dead_cells(now)})"
    return f"UPDATE ONLY {part} SET {SEEN} = now() WHERE ctid = ANY({_chosen(part, condition)})"


def _forgotten(part: str) -> str:
    old = "s.applied < now() - make_interval(secs => <retention>)"
    return f"DELETE FROM ONLY {part} WHERE ctid = ANY({_chosen(part, old)})"


def _run(connection: Connection, statement: str, first: int, retention: float) -> int:
    """A step over some blocks, in a transaction of its own; returns how many rows it met."""
    for name, value in (("<first>", first), ("<next>", first + _BLOCKS), ("<retention>", retention)):
        statement = statement.replace(name, str(value))  # no parameters: a column's name may hold a percent sign
    with connection.transaction():
        return connection.execute(statement.encode()).rowcount


def _blocks(connection: Connection, table: str) -> Iterator[tuple[str, int]]:
    """(relation, first block) of everything that a table consists of."""
    for part, pages in connection.execute(_PARTS, {"table": table}).fetchall():
        for first in range(0, int(pages), _BLOCKS):
            yield part, first


def _unknown(connection: Connection, table: str, values: tuple[ValueColumn, ...]) -> tuple[str, ...]:
    """Columns with values that a lane ahead made, or that were dropped."""
    known = {value.part("v" if value.is_cells else "w") for value in values}
    listed = [
        (quoted(name), is_cells, name) for name, is_cells in connection.execute(merge.STAMPS, (table,)).fetchall()
    ]
    return tuple(
        column for column, is_cells, name in listed if column not in known and (is_cells or name.startswith("w"))
    )
