"""ClickHouse as a destination. Nothing is a transaction here, and nothing needs one: what is written twice changes
nothing, and rows are written before the offset that passes them."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import cast

import pyarrow as pa
from clickhouse_connect.driver.exceptions import DatabaseError

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterCount, DeadLetterEvent
from cdc_pipeline.errors import ConfigurationError, RowsRefused
from cdc_pipeline.load.clickhouse import canary, ddl, dead_letters, names, parity, purge, shared, view
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.apart import Apart
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.encode import EncodedTable, encode_table
from cdc_pipeline.load.clickhouse.errors import TIMEOUT_EXCEEDED, translated
from cdc_pipeline.load.clickhouse.migrate import Catalog
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.offsets import Offsets
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.plan import TablePlan, make_plan
from cdc_pipeline.load.clickhouse.rerender import rerender, shown_as
from cdc_pipeline.load.parity import Parity, TruthRow
from cdc_pipeline.load.refusals import masked_counter
from cdc_pipeline.load.sink import ColumnSummary, Encoded, Purged, TableSummary, Truncation
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskedBatch, TableMasks


class ClickHouseSink:
    """One connection to one destination.

    `profile` and `overrides` choose the types (`types.md`). Errors are `SinkError`s and never hold a value.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        profile: str = "native",
        overrides: Mapping[str, str] | None = None,
        options: ClickHouseOptions | None = None,
    ) -> None:
        self.name = name
        self._label = f"{name} at {address}"
        self._profile = profile
        self._overrides = dict(overrides or {})
        self._chosen = options or ClickHouseOptions()
        self._address = address
        self._connection = Connection(address, self._chosen.settings)
        self._offsets = Offsets(self._connection, self._chosen)
        self._plans: dict[Table, TablePlan] = {}
        self._merged = True
        self._apart = Apart()
        self._anew: set[str] = set()

    # --- planning ----------------------------------------------------------------------------------------------

    def summary(self, table: Table, masks: TableMasks) -> TableSummary:
        """What the table would become; needs no server."""
        reason = table.refusal or masked_counter(table, masks)
        if reason is not None:
            return TableSummary(table.full_name, "", (), refusal=reason)
        plan = self.table_plan(table, masks)
        reason = names.too_long(plan.database, table.name)
        if reason is not None:
            return TableSummary(table.full_name, "", (), refusal=reason)
        by_name = {planned.column.name: planned for planned in plan.columns}
        columns = tuple(
            ColumnSummary(
                name=column.name,
                kind=str(column.kind),
                cql_type=column.type.cql,
                target_type=by_name[column.name].sql if column.name in by_name else "not loaded",
                mask=str(masks.decisions[column.name].strategy) if masks.is_masked(column) else "-",
            )
            for column in table.columns
        )
        cluster = self._chosen.cluster
        statements = [
            statement
            for name, listed, key in ddl.tables(plan)
            for statement in ddl.create(name, listed, key, cluster, plan.partition_names)
        ]
        shown = dataclasses.replace(plan, kept=())  # which of them were loaded only the server knows
        statements += [
            one.create("", ddl.on(cluster)) for one in view.views(shown, distributed=self._chosen.distributed)
        ]
        return TableSummary(table.full_name, plan.public, columns, tuple(statements), plan.warnings)

    def table_plan(self, table: Table, masks: TableMasks) -> TablePlan:
        """The plan of a table; `ConfigurationError` for an override that its column cannot take."""
        try:
            plan = make_plan(table, self._profile, self._overrides, masks.is_masked, masks.is_excluded)
        except ConfigurationError as error:
            raise ConfigurationError(str(error), where=f"destination {self.name}", key=table.full_name) from None
        return dataclasses.replace(
            plan,
            kept=plan.kept if self._chosen.keep_columns else (),
            fast=self._chosen.is_fast(table.full_name),
            state_database=self._chosen.state_database,
            prefix=self._chosen.prefix,
            rendering=table.version,
        )

    def prepare(self, tables: Sequence[tuple[Table, TableMasks]]) -> None:
        """Creates what is missing; each statement may be repeated, also by two at once."""
        with translated(self._label, "preparing tables"):
            catalog = Catalog(self._connection, self._chosen)
            catalog.begin()
            if tables:
                self._merged = canary.merges_finally(self._connection, self._chosen, str(self._address))
            for table, masks in tables:
                plan = self.table_plan(table, masks)
                catalog.migrate(self.name, plan, self._anew)
                catalog.check_masks(self.name, plan, masks)
                plan = dataclasses.replace(plan, kept=catalog.kept(plan))
                catalog.publish(plan, merged=self._merged)
                self._renew(plan)

    def forget(self, table: str) -> None:
        """Marks a table as being loaded again, by this sink."""
        self._anew.add(table)
        with translated(self._label, "forgetting a table"):
            catalog = Catalog(self._connection, self._chosen)
            catalog.begin()
            catalog.forget(table)

    def remember(self, table: str) -> None:
        """Takes the mark away."""
        self._anew.discard(table)
        with translated(self._label, "remembering a table"):
            Catalog(self._connection, self._chosen).remember(table)

    def _renew(self, plan: TablePlan) -> None:
        """Adds a plan; of the states of one table that are loaded here, all show values as the newest does."""
        states = [one for one in self._plans.values() if one.table.id == plan.table.id]
        newest = max([*states, plan], key=lambda one: one.table.version)
        self._plans[plan.table] = shown_as(plan, newest)
        if newest is plan:
            for old in states:
                rerender(self._connection, old, plan, merged=self._merged)
                if old.table != plan.table:
                    self._plans[old.table] = shown_as(old, plan)

    # --- the lane ----------------------------------------------------------------------------------------------

    def claim(self, lane: Lane, run_id: str) -> LaneState:
        """Takes the lane by raising its epoch."""
        with translated(self._label, "claiming the lane"):
            return self._offsets.claim(lane, run_id)

    def state(self, lane: Lane) -> LaneState | None:
        """The lane's row; None before its first claim."""
        with translated(self._label, "reading the offset"):
            found = self._offsets.newest(lane)
        return found.state if found is not None else None

    def segments(self, lane: Lane) -> frozenset[str]:
        """The names of the segments that the lane has read."""
        with translated(self._label, "reading the segments"):
            return self._offsets.segments(lane)

    def encode(self, masked: MaskedBatch) -> Encoded:
        """Types a batch for its table's plan."""
        plan = self._plans[masked.table]
        self._apart.saw(plan, masked)
        encoded = encode_table(plan, masked)
        return Encoded(encoded, encoded.failures)

    def merges(self, table: Table) -> bool:
        """Mostly (`apart.py`)."""
        return self._apart.takes(self._plans[table])

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
        """Fence, ledgers, rows, dead letters, fence again, and the offset last."""
        encoded = [cast(EncodedTable, batch.payload) for batch in batches]
        with translated(self._label, "loading a micro-batch"):
            found, done = self._offsets.fence(held, position)
            if done:
                return found.state
            self._write(encoded, truncations)
            load = f"{held.lane.shard} {position}"
            dead_letters.store(self._connection, shared.named(self._chosen, shared.LETTERS), letters, load)
            self._offsets.fence(held, position)
            return self._offsets.move(found, position, events)

    def load(
        self,
        lane: Lane,
        batches: Iterable[Encoded],
        letters: Sequence[DeadLetterEvent],
        position: Position,
        truncations: Sequence[Truncation] = (),
    ) -> None:
        """Rows, truncations and dead letters; the lane's offset stays, its segments are remembered as read."""
        encoded = [cast(EncodedTable, batch.payload) for batch in batches]
        with translated(self._label, "loading a backfill"):
            self._write(encoded, truncations)
            table = shared.named(self._chosen, shared.LETTERS)
            dead_letters.store(self._connection, table, letters, uuid.uuid4().hex)
            self._offsets.passed(lane, position)

    def refusal(self, batch: Encoded) -> str | None:
        """Why the server does not take a batch, as its code; sent into tables that keep nothing."""
        encoded = cast(EncodedTable, batch.payload)
        try:
            with translated(self._label, "trying a batch"):
                for (table, _, _), data in zip(ddl.tables(encoded.plan), _parts(encoded), strict=True):
                    if data is not None:
                        self._try(table, data)
        except RowsRefused as error:
            return error.state
        return None

    def _try(self, table: str, data: pa.Table) -> None:
        """Inserts into a table of the same columns, and of the constraints that somebody may have added."""
        tried = f"{quoted(self._chosen.state_database)}.{quoted(f'tried:{uuid.uuid4().hex}')}"
        self._connection.run(ddl.like(tried, table, self._chosen.cluster))
        try:
            self._connection.insert(tried, data)
        finally:
            self._connection.run(f"DROP TABLE IF EXISTS {tried}{ddl.on(self._chosen.cluster)}")

    # --- reading back ------------------------------------------------------------------------------------------

    def dead_letter_counts(self) -> list[DeadLetterCount]:
        """What is parked, by table and reason."""
        with translated(self._label, "counting dead letters"):
            return dead_letters.count(self._connection, shared.named(self._chosen, shared.LETTERS), self.name)

    def dead_letters(
        self, table: str | None = None, reason: str | None = None, limit: int = 100
    ) -> list[DeadLetterEvent]:
        """What is parked, the newest first."""
        letters = shared.named(self._chosen, shared.LETTERS)
        with translated(self._label, "listing dead letters"):
            return dead_letters.listing(self._connection, letters, self.name, table, reason, limit)

    def row_count(self, table: str, within: float = 10.0) -> int | None:
        """Rows of a prepared table's view; None when counting them takes longer than `within` seconds."""
        public = next(plan.public for plan in self._plans.values() if plan.table.full_name == table)
        limit = {"max_execution_time": str(within)}
        with translated(self._label, "counting rows"):
            try:
                rows = self._connection.rows(f"SELECT count() FROM {public}", settings=limit)
            except DatabaseError as error:
                if error.code == TIMEOUT_EXCEEDED:
                    return None
                raise
        return int(rows[0][0])

    def compare(self, table: Table, masks: TableMasks, truth: Iterable[TruthRow], as_of: str) -> Parity:
        """A view at an instant (`as_of`, ISO 8601) against rows of serialized values."""
        plan = self.table_plan(table, masks)
        with translated(self._label, "comparing"), closing(Connection(self._address, self._chosen.settings)) as own:
            plan = dataclasses.replace(plan, kept=Catalog(own, self._chosen).kept(plan))
            return parity.compare(own, self._chosen, plan, masks, truth, as_of)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def purge(self, table: Table, retention: float, *, optimize: bool = False) -> Purged:
        """One pass (`purge.py`). `ConfigurationError` where rows are spread over shards."""
        plan, cluster = self._plans[table], self._chosen.cluster
        if self._chosen.distributed:
            raise ConfigurationError(
                "expected a destination that is not spread over shards: a purge of one is not built yet",
                where=f"destination {self.name}",
                key="cluster.distributed",
            )
        with translated(self._label, "purging"):
            done = purge.purge(self._connection, plan, retention, cluster, merged=self._merged)
            if optimize:
                purge.optimize(self._connection, plan, cluster)
        return done

    # --- writing -----------------------------------------------------------------------------------------------

    def _write(self, tables: Sequence[EncodedTable], truncations: Sequence[Truncation]) -> None:
        """Ledgers before rows: nothing is shown that a deletion of the same micro-batch hides."""
        emptied = [one for one in truncations if not one.dropped]
        if emptied:
            ids = pa.array([one.table.id.bytes for one in emptied], pa.binary(16))
            stamps = pa.array([view.stamp(one.ts) for one in emptied], pa.uint64())
            self._connection.insert(
                shared.named(self._chosen, shared.TRUNCATIONS), pa.table({"table_id": ids, "ts": stamps})
            )
        for one in tables:
            if one.ranges is not None:
                self._connection.insert(one.plan.ranges, one.ranges)
        for one in tables:
            if one.rows is not None:
                self._connection.insert(one.plan.state, one.rows)
            if one.static is not None:
                self._connection.insert(one.plan.static_state, one.static)
        if self._chosen.drop_tables:
            catalog = Catalog(self._connection, self._chosen)
            for gone in truncations:
                if gone.dropped and gone.table in self._plans:
                    catalog.drop(self._plans[gone.table])


def _parts(encoded: EncodedTable) -> list[pa.Table | None]:
    """What goes into each of the tables of a plan."""
    parts = [encoded.rows]
    if encoded.plan.static:
        parts.append(encoded.static)
    if encoded.plan.has_clustering:
        parts.append(encoded.ranges)
    return parts
