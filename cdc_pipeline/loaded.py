"""Which tables of a schema a destination loads, and how they are masked: decided for the schema of each place anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cdc_pipeline.load import Sink
from cdc_pipeline.schema import CompleteCounters, Schema, Table, TableFilter
from cdc_pipeline.transform import MaskingPolicy, TableMasks


class LoadedTables:
    """Selection, masking policy, known counters and what the destination refuses, asked once per state of a table."""

    def __init__(
        self, chosen: TableFilter, policy: MaskingPolicy, sink: Sink, counters: CompleteCounters | None = None
    ) -> None:
        self._chosen = chosen
        self._policy = policy
        self._sink = sink
        self._counters = counters or CompleteCounters()
        self._is_read: Callable[[str], bool] = lambda _: True
        self._masks: dict[Table, TableMasks] = {}
        self._loads: dict[Table, bool] = {}
        self._last: tuple[Schema | None, list[tuple[Table, TableMasks]]] = (None, [])

    def stand(self, is_read: Callable[[str], bool]) -> None:
        """Says of which segments a lane has read, or will read, all: counters made in another began unseen by it."""
        self._is_read = is_read
        self._loads.clear()
        self._last = (None, [])

    def unseen(self, schema: Schema) -> Iterator[str]:
        """Sentences about the counter tables that another lane of the shard saw made, and this one did not."""
        for table in schema.current:
            if self._chosen.selects(table) and self._is_unseen(table):
                yield (
                    f"table {table.full_name}: not loaded, its counters began in a segment that this lane has not "
                    f"read, at {table.complete_since}"
                )

    def masks(self, table: Table) -> TableMasks:
        """The decisions about a table. `ConfigurationError` as the policy raises it."""
        if table not in self._masks:
            self._masks[table] = TableMasks(self._policy, table)
        return self._masks[table]

    def loads(self, table: Table) -> bool:
        """Whether its changes are loaded; `ConfigurationError` when a column is to be masked and there is no key."""
        if table not in self._loads:
            self._loads[table] = self._chosen.selects(table) and self._is_accepted(table)
        return self._loads[table]

    def of(self, schema: Schema) -> list[tuple[Table, TableMasks]]:
        """The current tables of a schema that are loaded."""
        if self._last[0] is not schema:
            self._last = (schema, [(table, self.masks(table)) for table in schema.current if self.loads(table)])
        return self._last[1]

    def _is_accepted(self, table: Table) -> bool:
        masks = self.masks(table)
        if self._counters.refusal(table) is not None or self._is_unseen(table):
            return False
        if self._sink.summary(table, masks).refusal is not None:
            return False
        masks.fingerprints()  # a missing key stops here, before anything is read
        return True

    def _is_unseen(self, table: Table) -> bool:
        if not table.is_counter or table.complete_since is None or self._counters.vouched(table):
            return False
        return not self._is_read(table.complete_since.partition(":")[0])
