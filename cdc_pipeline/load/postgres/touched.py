"""What a transaction touched of tables that are kept equal to a view, and the looking up at its end.

Touched are the rows that came, those that a range covers, all rows of a partition whose static row came, and the rows
with something that has expired since. The SQL of the looking up is kept in `cdc.cdc_surfaces`, because a lane behind a
change of the schema has to fill the columns that a lane before it made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from cdc_pipeline.load.postgres import surface
from cdc_pipeline.load.postgres.ddl import LIVE_X, TOMBSTONE
from cdc_pipeline.load.postgres.plan import CLUSTERING, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.surface import identified, listed, named

Connection = psycopg.Connection[Any]

_LOCK = 723_012_104
_TRY = "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))"
_KEPT = "SELECT refresh, filling FROM cdc.cdc_surfaces WHERE name = %s AND table_id = %s"
_AS_OF = "nullif(current_setting('cdc.as_of', true), '')"
_CLOCK = f"SELECT {_AS_OF}, set_config('cdc.as_of', coalesce({_AS_OF}, clock_timestamp()::text), true)"


class Touched:
    """What a transaction has touched, by table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._plans: dict[str, TablePlan] = {}

    def rows(self, plan: TablePlan, staged: str, sent: Sequence[str]) -> None:
        """The rows that were staged, and when something of them expires."""
        self._add(plan, f"SELECT {listed(plan, 'i')} FROM {staged} i")
        self.expiring(plan, staged, [value for value in plan.regular if value.part("v") in sent])

    def static(self, plan: TablePlan, staged: str, sent: Sequence[str]) -> None:
        """All rows of the partitions whose static row was staged."""
        self._add(plan, _of_partitions(plan, staged))
        self._add(plan, f"SELECT {listed(plan, 'i', static=True)} FROM {staged} i")
        self.expiring(plan, staged, [value for value in plan.static if value.part("v") in sent], static=True)

    def ranges(self, plan: TablePlan, staged: str) -> None:
        """The rows that staged ranges cover."""
        inside = f"e.{CLUSTERING} >= i.lo AND e.{CLUSTERING} < i.hi"
        self._add(plan, f"{_of_partitions(plan, staged)} AND {inside}")
        if plan.static:
            self._add(plan, f"SELECT {listed(plan, 'i', static=True)} FROM {staged} i")

    def expired(self, plans: Iterable[TablePlan]) -> None:
        """The rows with something that has expired, unless another lane is at them now."""
        for plan in sorted(plans, key=lambda one: one.state):
            due = f"SELECT 1 FROM {plan.expiries} WHERE due <= cdc.now_x() LIMIT 1"
            if self._connection.execute(due.encode()).fetchone() is not None and self._alone(plan):
                self._add(plan)
                self._run(_take_expired(plan))

    def _alone(self, plan: TablePlan) -> bool:
        row = self._connection.execute(_TRY, (_LOCK, plan.public)).fetchone()
        return row == (True,)

    def refresh(self) -> None:
        """Looks up what was touched, and writes what differs."""
        for _, plan in sorted(self._plans.items()):
            lock(self._connection, plan, exclusive=bool(plan.static))
            kept = self._connection.execute(_KEPT, (plan.public, plan.table.id)).fetchone()
            if kept is not None:
                at_the_clock(self._connection, kept[0].replace(surface.TOUCHED, _touched(plan)))
        self._plans.clear()

    def _add(self, plan: TablePlan, query: str | None = None) -> None:
        if plan.state not in self._plans:
            self._plans[plan.state] = plan
            columns = ", ".join(identified(plan))
            self._run(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {_touched(plan)} ON COMMIT DELETE ROWS AS "
                f"SELECT {columns} FROM {plan.state} WITH NO DATA"
            )
        if query is not None:
            self._run(f"INSERT INTO {_touched(plan)} {query}")

    def expiring(self, plan: TablePlan, source: str, values: Sequence[ValueColumn], *, static: bool = False) -> None:
        """When something of rows, staged or kept, expires."""
        simple = [*([] if static else [LIVE_X]), *(value.part("x") for value in values if not value.is_cells)]
        times = ", ".join(f"i.{name}" for name in simple)
        found = [f"SELECT x FROM unnest(ARRAY[{times}]::bigint[]) x"] if simple else []
        found += [f"SELECT e.x FROM unnest(i.{value.part('v')}) e" for value in values if value.is_cells]
        if found:
            self._run(
                f"INSERT INTO {plan.expiries} SELECT DISTINCT {listed(plan, 'i', static=static)}, x.x FROM {source} i "
                f"CROSS JOIN LATERAL ({' UNION ALL '.join(found)}) x "
                f"WHERE x.x > cdc.now_x() AND x.x < {TOMBSTONE} ON CONFLICT DO NOTHING"
            )

    def _run(self, text: str) -> None:
        self._connection.execute(text.encode())


def lock(connection: Connection, plan: TablePlan, *, exclusive: bool) -> None:
    """Until the commit: rows of one key wait for each other in the state, but a static row belongs to many rows, and a
    sweep or a change of the shape to all."""
    kind = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    connection.execute(f"SELECT {kind}(%s, hashtext(%s))".encode(), (_LOCK, plan.public))


def at_the_clock(connection: Connection, text: str) -> None:
    """Runs statements at the clock of this moment, not of the transaction's start; a clock that was set is kept."""
    row = connection.execute(_CLOCK).fetchone()
    connection.execute(text.encode())
    connection.execute("SELECT set_config('cdc.as_of', %s, true)", (row[0] or "" if row else "",))


def _touched(plan: TablePlan) -> str:
    return named(plan.state, ":touch")


def _of_partitions(plan: TablePlan, staged: str) -> str:
    same = plan.same_partition("e", "i")
    return f"SELECT {listed(plan, 'e')} FROM {staged} i JOIN {plan.state} e ON {same}"


def _take_expired(plan: TablePlan) -> str:
    taken = (
        f"WITH due AS (DELETE FROM {plan.expiries} WHERE due <= cdc.now_x() RETURNING *) INSERT INTO {_touched(plan)} "
    )
    if not plan.static:
        return f"{taken}SELECT {listed(plan, 'd')} FROM due d"
    return (
        f"{taken}SELECT {listed(plan, 'd')} FROM due d UNION ALL SELECT {listed(plan, 'e')} FROM due d "
        f"JOIN {plan.state} e ON {plan.same_partition('e', 'd')} WHERE d.{CLUSTERING} IS NULL"
    )


def fill(connection: Connection, plan: TablePlan) -> None:
    """Makes the whole table equal to the view, and its expiries those of the state."""
    lock(connection, plan, exclusive=True)
    kept = connection.execute(_KEPT, (plan.public, plan.table.id)).fetchone()
    if kept is None:
        return
    at_the_clock(connection, kept[1])
    touched = Touched(connection)
    touched.expiring(plan, plan.state, plan.regular)
    if plan.static:
        touched.expiring(plan, plan.static_state, plan.static, static=True)


def expire(connection: Connection, plan: TablePlan) -> None:
    """Takes what has expired since out of a table, inside the caller's transaction: for when no lane does."""
    touched = Touched(connection)
    touched.expired([plan])
    touched.refresh()
