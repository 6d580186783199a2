"""PostgreSQL as a destination: one transaction per micro-batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterCount, DeadLetterEvent
from cdc_pipeline.errors import ConfigurationError, RowsRefused
from cdc_pipeline.load import masking
from cdc_pipeline.load.parity import Parity, TruthRow
from cdc_pipeline.load.postgres import ddl, dead_letters, migrate, offsets, parity, purge, rerender, surface, touched
from cdc_pipeline.load.postgres.connection import connect
from cdc_pipeline.load.postgres.encode import EncodedTable, encode_table
from cdc_pipeline.load.postgres.errors import translated
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.load.postgres.plan import TablePlan, make_plan
from cdc_pipeline.load.postgres.publish import publish, remove
from cdc_pipeline.load.postgres.write import Writer, truncate
from cdc_pipeline.load.refusals import masked_counter
from cdc_pipeline.load.sink import ColumnSummary, Encoded, Purged, TableSummary, Truncation
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskedBatch, TableMasks

_OLDEST_SERVER = 150_000


class PostgresSink:
    """One connection to one destination; reconnects after `TransientSinkError`.

    `profile` and `overrides` choose the types (`types.md`). Errors are `SinkError`s and never hold a value.
    """

    def __init__(
        self,
        name: str,
        conninfo: str,
        profile: str = "native",
        overrides: Mapping[str, str] | None = None,
        options: PostgresOptions | None = None,
    ):
        self.name = name
        self._conninfo = conninfo
        self._label = f"{name}{_place(conninfo)}"
        self._profile = profile
        self._overrides = dict(overrides or {})
        self._chosen = options or PostgresOptions()
        self._plans: dict[Table, TablePlan] = {}
        self._views: dict[str, str] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self._cell_oid = 0
        self._writer = Writer()

    # --- planning ----------------------------------------------------------------------------------------------

    def summary(self, table: Table, masks: TableMasks) -> TableSummary:
        """What the table would become; needs no server."""
        reason = table.refusal or masked_counter(table, masks)
        if reason is not None:
            return TableSummary(table.full_name, "", (), refusal=reason)
        plan = self.table_plan(table, masks)
        if ddl.width(plan) > ddl.LARGEST_TABLE:
            reason = (
                f"its state table needs {ddl.width(plan)} columns, a PostgreSQL table has {ddl.LARGEST_TABLE} at most"
            )
            return TableSummary(table.full_name, "", (), refusal=reason)
        by_name = {planned.column.name: planned for planned in plan.columns}
        columns = tuple(
            ColumnSummary(
                name=column.name,
                kind=str(column.kind),
                cql_type=column.type.cql,
                target_type=by_name[column.name].type.sql if column.name in by_name else "not loaded",
                mask=str(masks.decisions[column.name].strategy) if masks.is_masked(column) else "-",
            )
            for column in table.columns
        )
        view = ddl.view(dataclasses.replace(plan, kept=()))  # which of them were loaded only the server knows
        statements = (*self.statements(plan), view, *(surface.statements(plan) if plan.is_table else ()))
        return TableSummary(table.full_name, plan.public, columns, statements, plan.warnings)

    def statements(self, plan: TablePlan) -> list[str]:
        """The DDL of a plan but for what users read; each may be repeated."""
        return list(ddl.statements(plan))

    def table_plan(self, table: Table, masks: TableMasks, generation: int = 1) -> TablePlan:
        """The plan of a table; `ConfigurationError` for an override that its column cannot take."""
        try:
            plan = make_plan(table, self._profile, self._overrides, masks.is_masked, masks.is_excluded, generation)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=f"destination {self.name}", key=table.full_name) from None
        kept = plan.kept if self._chosen.keep_columns else ()
        return dataclasses.replace(plan, is_table=self._chosen.is_table(table.full_name), kept=kept)

    def prepare(self, tables: Sequence[tuple[Table, TableMasks]]) -> None:
        """Creates what is missing, in one transaction under an advisory lock, so that two may start at once."""
        with translated(self._label, "preparing tables"), self._transaction() as connection:
            connection.execute("DISCARD TEMP")  # staging tables have the shape that state tables had
            self._writer.forget()
            migrate.begin(connection)
            self._cell_oid = _oid_of_cell(connection)
            made: dict[Table, TablePlan] = {}
            for table, masks in tables:
                plan = self.table_plan(table, masks, migrate.generation(connection, table))
                plan = self._migrate(connection, plan)
                self._check_masks(connection, plan, masks)
                self._renew(connection, plan, made)
        self._plans |= made
        self._views |= {table.full_name: plan.public for table, plan in made.items()}

    def _migrate(self, connection: psycopg.Connection[Any], plan: TablePlan) -> TablePlan:
        """Makes what a plan needs, and gives users what it says; returns it as that could be done."""
        migrate.migrate(connection, plan, self.statements(plan))
        return publish(connection, plan)

    def _renew(self, connection: psycopg.Connection[Any], plan: TablePlan, made: dict[Table, TablePlan]) -> None:
        """Adds a plan; of the states of one table that are loaded here, all show values as the newest does."""
        table = plan.table
        states = [one for one in self._plans.values() if one.table.id == table.id]
        newest = max([*states, plan], key=lambda one: one.table.version)
        made[table] = rerender.shown_as(plan, newest)
        if newest is plan:
            for old in states:
                rerender.rerender(connection, old, plan)
                if old.table != table:
                    made[old.table] = rerender.shown_as(old, plan)
            if plan.is_table and states:
                touched.fill(connection, plan)  # what is shown otherwise now was not touched

    def _check_masks(self, connection: psycopg.Connection[Any], plan: TablePlan, masks: TableMasks) -> None:
        """Remembers how the columns of a new table are masked, and refuses to mask those of a known one otherwise."""
        table = plan.table
        keys = (*plan.partition_key, *plan.clustering)
        now = masking.decided(masks, {f"{part.sql_name} of {plan.state}": part.column.name for part in keys})
        key = (table.keyspace, table.name)
        with connection.cursor() as cursor:
            rows = [(*key, name, *how) for name, how in now.items()]
            cursor.executemany("INSERT INTO cdc.mask_keys VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", rows)
        found = connection.execute(
            "SELECT column_name, decision, fingerprint FROM cdc.mask_keys WHERE (keyspace_name, table_name) = (%s, %s)",
            key,
        ).fetchall()
        masking.check(self.name, table.full_name, now, found)

    def forget(self, table: str) -> None:
        """Nothing: what is missing is made anew at every start."""

    def remember(self, table: str) -> None:
        """Nothing."""

    # --- the lane ----------------------------------------------------------------------------------------------

    def claim(self, lane: Lane, run_id: str) -> LaneState:
        """Takes the lane by raising its epoch."""
        with translated(self._label, "claiming the lane"):
            try:
                with self._transaction() as connection:
                    return offsets.claim(connection, lane, run_id)
            except psycopg.errors.LockNotAvailable:
                offsets.end_paused(self._open())
                raise

    def state(self, lane: Lane) -> LaneState | None:
        """The lane's row; None before its first claim."""
        with translated(self._label, "reading the offset"), self._transaction() as connection:
            return offsets.read(connection, lane)

    def segments(self, lane: Lane) -> frozenset[str]:
        """The names of the segments that the lane has read."""
        with translated(self._label, "reading the segments"), self._transaction() as connection:
            return offsets.segments(connection, lane)

    def encode(self, masked: MaskedBatch) -> Encoded:
        """Types a batch for its table's plan."""
        encoded = encode_table(self._plans[masked.table], masked, self._cell_oid)
        return Encoded(encoded, encoded.failures)

    def merges(self, table: Table) -> bool:
        """Never: one statement takes a row of a key once."""
        return False

    def keeps_history(self, table: Table) -> bool:
        """Never: the state is kept."""
        return False

    def apply(
        self,
        held: LaneState,
        batches: Iterable[Encoded],
        letters: Sequence[DeadLetterEvent],
        position: Position,
        events: int,
        truncations: Sequence[Truncation] = (),
    ) -> LaneState:
        """Fence, rows, truncations, dead letters and offset in one transaction.

        After a lost commit reply the offset on the server tells: it stands at `position` under our epoch exactly when
        that transaction was committed.
        """
        with translated(self._label, "loading a micro-batch"), self._transaction() as connection:
            committed = offsets.fence(connection, held, position)
            if committed is not None:
                return committed
            self._write(connection, batches)
            self._truncate(connection, truncations)
            dead_letters.store(connection, letters)
            return offsets.move(connection, held, position, events)

    def load(
        self,
        lane: Lane,
        batches: Iterable[Encoded],
        letters: Sequence[DeadLetterEvent],
        position: Position,
        truncations: Sequence[Truncation] = (),
    ) -> None:
        """Rows, truncations and dead letters; the lane's offset stays, its segments are remembered as read."""
        with translated(self._label, "loading a backfill"), self._transaction() as connection:
            self._write(connection, batches)
            self._truncate(connection, truncations)
            dead_letters.store(connection, letters)
            offsets.passed(connection, lane, position)

    def refusal(self, batch: Encoded) -> str | None:
        """Why the server does not take a batch, as its SQLSTATE; loaded, and rolled back."""
        try:
            with translated(self._label, "trying a batch"):
                connection = self._open()
                with connection.transaction(force_rollback=True):
                    self._write(connection, [batch])
        except RowsRefused as error:
            return f"SQLSTATE {error.state}"
        finally:
            self._writer.forget()
        return None

    # --- reading back ------------------------------------------------------------------------------------------

    def dead_letter_counts(self) -> list[DeadLetterCount]:
        """What is parked, by table and reason."""
        with translated(self._label, "counting dead letters"), self._transaction() as connection:
            return dead_letters.count(connection, self.name)

    def dead_letters(
        self, table: str | None = None, reason: str | None = None, limit: int = 100
    ) -> list[DeadLetterEvent]:
        """What is parked, the newest first."""
        with translated(self._label, "listing dead letters"), self._transaction() as connection:
            return dead_letters.listing(connection, self.name, table, reason, limit)

    def row_count(self, table: str, within: float = 10.0) -> int | None:
        """Rows of a prepared table's view; None when counting them takes longer than `within` seconds."""
        with translated(self._label, "counting rows"):
            try:
                with self._transaction() as connection:
                    connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(int(within * 1000)),))
                    row = connection.execute(f"SELECT count(*) FROM {self._views[table]}").fetchone()
            except psycopg.errors.QueryCanceled:
                return None
        return int(row[0]) if row is not None else None

    def compare(self, table: Table, masks: TableMasks, truth: Iterable[TruthRow], as_of: str) -> Parity:
        """A table's view at an instant against its truth."""
        with translated(self._label, "comparing a table with its truth"), connect(self._conninfo) as connection:
            return parity.compare(connection, self.table_plan(table, masks), masks, truth, as_of)

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def purge(self, table: Table, retention: float, *, optimize: bool = False) -> Purged:
        """One pass in short transactions (`purge.py`). `optimize` is nothing here: autovacuum does it."""
        with translated(self._label, "purging"):
            return purge.purge(self._open(), self._plans[table], retention)

    # --- writing -----------------------------------------------------------------------------------------------

    def _write(self, connection: psycopg.Connection[Any], batches: Iterable[Encoded]) -> None:
        kept = [plan for plan in self._plans.values() if plan.is_table]
        self._writer.write(connection, [cast(EncodedTable, batch.payload) for batch in batches], kept)

    def _truncate(self, connection: psycopg.Connection[Any], truncations: Sequence[Truncation]) -> None:
        truncate(connection, self._plans, [one for one in truncations if not one.dropped])
        if self._chosen.drop_tables:
            for plan in [self._plans[one.table] for one in truncations if one.dropped and one.table in self._plans]:
                remove(connection, plan)

    # --- the connection ----------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        connection = self._open()
        try:
            with connection.transaction():
                yield connection
        except BaseException:
            self._writer.forget()  # a staging table that was made is gone again
            raise

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._writer = Writer()
            connection = connect(self._conninfo, commit=self._chosen.synchronous_commit)
            if connection.info.server_version < _OLDEST_SERVER:
                connection.close()
                raise ConfigurationError(
                    f"expected PostgreSQL 15 or later, found {connection.info.server_version // 10000}",
                    where=f"destination {self.name}",
                )
            self._connection = connection
        return self._connection


def _oid_of_cell(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT 'cdc.cell'::regtype::oid::int8").fetchone()
    assert row is not None
    return int(row[0])


def _place(conninfo: str) -> str:
    """` at host:port` of a connection string, never more of it."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        raise ConfigurationError("expected a connection string of libpq, found something else") from None
    host = parts.get("host") or parts.get("hostaddr")
    return f" at {host}:{parts.get('port') or 5432}" if host else ""
