"""The rows of one micro-batch into their tables, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from cdc_pipeline.load.postgres import ddl, merge, touched
from cdc_pipeline.load.postgres.encode import CopyBatch, EncodedTable
from cdc_pipeline.load.postgres.fresh import FreshRows
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.sink import Truncation
from cdc_pipeline.schema import Table

_TABLE_LOCK = 723_012_103

Connection = psycopg.Connection[Any]


class Writer:
    """Writes through one connection, and knows the staging tables that it has there."""

    def __init__(self) -> None:
        self._staged: dict[str, str] = {}
        self._made: set[str] = set()
        self._filled: set[str] = set()
        self._fresh = FreshRows()

    def forget(self) -> None:
        """A transaction was rolled back, or the connection is another: staging tables may be gone."""
        self._made.clear()

    def write(self, connection: Connection, batches: Iterable[EncodedTable], kept: Iterable[TablePlan]) -> None:
        """Rows, static rows and ranges; `kept` are all tables that are kept equal to views, for what expires there."""
        self._filled.clear()
        seen = touched.Touched(connection)
        tables = sorted(batches, key=lambda one: one.plan.state)
        _meet_ranges(connection, tables)
        held = _held(connection, tables)
        for encoded in tables:
            plan = encoded.plan
            ledger, keyed = held[plan.state]
            if encoded.ranges is not None:
                staged = self._ranges(connection, plan, encoded.ranges)
                ledger = True
                if plan.is_table:
                    seen.ranges(plan, staged)
            if encoded.rows is not None:
                new = encoded.rows.inserts and keyed and not ledger and plan.takes_copies
                fresh = new and self._fresh.worth_a_try(plan.state)
                if not (fresh and self._copied(connection, plan, encoded.rows)):
                    staged = self._merge(connection, plan, encoded.rows, static=False, ledger=ledger)
                    if plan.is_table:
                        seen.rows(plan, staged, encoded.rows.columns)
            if encoded.static is not None:
                staged = self._merge(connection, plan, encoded.static, static=True, ledger=ledger)
                if plan.is_table:
                    seen.static(plan, staged, encoded.static.columns)
        seen.expired(kept)
        seen.refresh()

    def _copied(self, connection: Connection, plan: TablePlan, rows: CopyBatch) -> bool:
        """Rows that are all new into the state table itself; False, and nothing written, when some are not."""
        try:
            with connection.transaction():
                _copy_into(connection, plan.state, rows)
        except psycopg.errors.UniqueViolation:
            self._fresh.failed(plan.state)
            return False
        self._fresh.succeeded(plan.state)
        return True

    def _merge(self, connection: Connection, plan: TablePlan, rows: CopyBatch, *, static: bool, ledger: bool) -> str:
        """Rows that may be there already, through their staging table, which is returned."""
        staged = self._copy(connection, plan.static_state if static else plan.state, rows)
        merging = merge.merge_rows(plan, staged, rows.columns, static=static, ledger=ledger)
        execute_sql(connection, merging, prepare=True)
        return staged

    def _ranges(self, connection: Connection, plan: TablePlan, ranges: CopyBatch) -> str:
        """The ledger first, so that rows of this batch meet it; then the rows that are there already."""
        staged = self._copy(connection, plan.ranges, ranges)
        execute_sql(connection, merge.merge_ranges(plan, staged, ranges.columns))
        execute_sql(connection, merge.cover_rows(plan, staged))
        if plan.static:
            execute_sql(connection, merge.cover_static(plan, staged))
        return staged

    def _copy(self, connection: Connection, table: str, batch: CopyBatch) -> str:
        """Fills the staging table of a state table."""
        staged = self._staged.get(table)
        if staged is None:
            staged = self._staged[table] = f"cdc_in_{len(self._staged)}"
        if staged not in self._made:
            execute_sql(connection, merge.staging(table, staged))
            self._made.add(staged)
        if table in self._filled:
            execute_sql(connection, f"TRUNCATE {staged}")
        self._filled.add(table)
        _copy_into(connection, staged, batch)
        return staged


def truncate(connection: Connection, plans: Mapping[Table, TablePlan], truncations: Sequence[Truncation]) -> None:
    """The ledger, which hides what was written before, and arrives later; then what it hides is taken away."""
    emptied = {(one.table, one.ts) for one in truncations if not one.dropped}
    for table, ts in sorted(emptied, key=lambda one: (str(one[0].id), one[1])):
        connection.execute(merge.TRUNCATE, (table.id, ts))
        plan = plans.get(table)
        if plan is None:
            continue
        connection.execute(f"SELECT {_lock(exclusive=True)}".encode(), (plan.state,))
        for state in (plan.state, *([plan.static_state] if plan.static else [])):
            execute_sql(connection, f"LOCK TABLE {state} IN ROW EXCLUSIVE MODE")  # no column comes meanwhile
            stamps = connection.execute(merge.STAMPS, (state,)).fetchall()
            execute_sql(connection, merge.purge(state, stamps, ts))
        if plan.has_clustering:
            execute_sql(connection, f"DELETE FROM {plan.ranges} WHERE ts <= {ts}")
        if plan.is_table:
            touched.fill(connection, plan)


def _meet_ranges(connection: Connection, tables: Sequence[EncodedTable]) -> None:
    """A range and a row inside it, loaded by two lanes at once, would not see each other: ranges of a table wait for
    rows that are being loaded, and rows for ranges; rows do not wait for rows."""
    clustered = [one for one in tables if one.plan.has_clustering]
    if clustered:
        locks = ", ".join(_lock(exclusive=one.ranges is not None) for one in clustered)
        connection.execute(f"SELECT {locks}".encode(), [one.plan.state for one in clustered])


def _held(connection: Connection, tables: Sequence[EncodedTable]) -> dict[str, tuple[bool, bool]]:
    """Per state table whether its ledger holds ranges, and whether the index is there that keeps keys unique."""
    if not tables:
        return {}
    asked, indexes = [], []
    for one in tables:
        asked.append(f"EXISTS (SELECT FROM {one.plan.ranges})" if one.plan.has_clustering else "false")
        asked.append("to_regclass(%s) IS NOT NULL")
        indexes.append(ddl.key_index(one.plan.state))
    found = connection.execute(f"SELECT {', '.join(asked)}".encode(), indexes).fetchone() or ()
    return {one.plan.state: (found[2 * at], found[2 * at + 1]) for at, one in enumerate(tables)}


def _lock(*, exclusive: bool) -> str:
    return f"{'pg_advisory_xact_lock' if exclusive else 'pg_advisory_xact_lock_shared'}({_TABLE_LOCK}, hashtext(%s))"


def _copy_into(connection: Connection, table: str, batch: CopyBatch) -> None:
    with connection.cursor() as cursor, cursor.copy(merge.copy_in(table, batch.columns)) as copy:
        copy.write(batch.data)


def execute_sql(connection: Connection, text: str, *, prepare: bool = False) -> psycopg.Cursor[Any]:
    """Executes a statement made of quoted names and our own words; values travel by COPY and parameters.

    `prepare`: it comes again, with every micro-batch, and is parsed and planned once.
    """
    return connection.execute(text.encode(), prepare=prepare)
