"""TimescaleDB as a destination: PostgreSQL's transaction over hypertables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import psycopg

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres import PostgresSink, migrate
from cdc_pipeline.load.postgres.encode import EncodedTable
from cdc_pipeline.load.postgres.errors import translated
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.postgres.publish import publish
from cdc_pipeline.load.sink import Encoded
from cdc_pipeline.load.timescaledb import ddl, extension, history
from cdc_pipeline.load.timescaledb.options import HypertableOptions
from cdc_pipeline.load.timescaledb.plan import HypertablePlan, hypertable_plan
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import TableMasks

_KIND = """
SELECT EXISTS (SELECT 1 FROM timescaledb_information.hypertables
               WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = to_regclass(%s))
"""


class TimescaleSink(PostgresSink):
    """One connection to one destination, as PostgreSQL's; `ConfigurationError` where the extension is missing."""

    def __init__(
        self,
        name: str,
        conninfo: str,
        profile: str = "native",
        overrides: Mapping[str, str] | None = None,
        options: HypertableOptions | None = None,
        postgres: PostgresOptions | None = None,
    ):
        super().__init__(name, conninfo, profile, overrides, postgres)
        self._options = options or HypertableOptions()

    # --- planning ----------------------------------------------------------------------------------------------

    def table_plan(self, table: Table, masks: TableMasks, generation: int = 1) -> TablePlan:
        """The plan of a table, with its time."""
        plan = super().table_plan(table, masks, generation)
        return hypertable_plan(plan, wanted=self._options.hypertables.matches(table.full_name))

    def statements(self, plan: TablePlan) -> list[str]:
        """The DDL of a plan but for what users read, settings of the hypertable and history included."""
        found = [*ddl.statements(plan, self._options), *self._settings(plan)]
        if self.keeps_history(plan.table):
            found += history.statements(plan, self._options)
        return found

    def _settings(self, plan: TablePlan) -> list[str]:
        if isinstance(plan, HypertablePlan) and plan.time is not None:
            return list(ddl.settings(plan, self._options))
        return []

    def prepare(self, tables: Sequence[tuple[Table, TableMasks]]) -> None:
        """Creates the extension and what is missing; may be repeated, also by two at once."""
        with translated(self._label, "preparing tables"):
            extension.install(self._open(), f"destination {self.name}")
        super().prepare(tables)

    def _migrate(self, connection: psycopg.Connection[Any], plan: TablePlan) -> TablePlan:
        migrate.once(connection, "timescaledb/functions.sql", [ddl.FUNCTIONS])
        self._check_kind(connection, plan)
        migrate.migrate(connection, plan, list(ddl.statements(plan, self._options)))
        if settings := self._settings(plan):
            migrate.once(connection, f"{plan.state} settings", settings, plan.state)
        if self.keeps_history(plan.table):
            history.migrate_to(connection, plan, self._options)
        return publish(connection, plan)

    def _check_kind(self, connection: psycopg.Connection[Any], plan: TablePlan) -> None:
        """A table that holds rows stays what it is: a hypertable's unique index is another."""
        wanted = isinstance(plan, HypertablePlan) and plan.time is not None
        if connection.execute("SELECT to_regclass(%s)", (plan.state,)).fetchone() == (None,):
            return
        if connection.execute(_KIND, (plan.state,)).fetchone() != (wanted,):
            expected, found = ("a hypertable", "a plain table") if wanted else ("a plain table", "a hypertable")
            raise ConfigurationError(
                f"expected {expected}, found it loaded as {found}: with another kind of destination, `hypertables` or "
                "masking rule; load into another database, or drop the table to load it again",
                where=plan.state,
            )

    # --- writing -----------------------------------------------------------------------------------------------

    def keeps_history(self, table: Table) -> bool:
        """Whether each change of a table is kept, too."""
        return self._options.keeps_history(table.full_name)

    def _write(self, connection: psycopg.Connection[Any], batches: Iterable[Encoded]) -> None:
        changes: list[EncodedTable] = []
        super()._write(connection, _noting(batches, changes))
        for encoded in changes:
            history.append(connection, encoded)

    def _open(self) -> psycopg.Connection[Any]:
        fresh = self._connection is None or self._connection.closed
        connection = super()._open()
        if fresh:
            try:
                extension.check_available(connection, f"destination {self.name}")
            except BaseException:
                self.close()
                raise
            # a merge unpacks the compressed rows of its keys, a truncation all: how many is bounded by the batch
            connection.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
        return connection


def _noting(batches: Iterable[Encoded], changes: list[EncodedTable]) -> Iterator[Encoded]:
    for batch in batches:
        yield batch
        if batch.apart is not None:
            changes.append(cast(EncodedTable, batch.apart))
