"""Places that recordings are loaded into, whatever the kind of destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, ClassVar

from cdc_pipeline.load import Sink, TruthRow
from cdc_pipeline.transform import TableMasks
from cdc_pipeline_tests.chaos.child import CLICKHOUSE_STEPS, STEPS
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.integration.truth import Explained, unexplained

Differences = tuple[Sequence[Any], Sequence[str]]


class Store(ABC):
    """An empty place: `dsn` and `destination` are its part of a configuration, `steps` where a lane into it may be
    killed, `first` the one that it surely comes by."""

    steps: ClassVar[tuple[str, ...]]
    first: ClassVar[str]

    def __init__(self, dsn: str, destination: dict[str, Any]) -> None:
        self.dsn = dsn
        self.destination = destination

    def prepared(self) -> None:
        """The tables were made."""
        return

    @abstractmethod
    def unexplained(
        self, sink: Sink, masks: TableMasks, truth: Iterable[TruthRow], as_of: str, why: Explained
    ) -> Differences:
        """Rows of the truth, and of the view, that differ although no dead letter names their key."""


class PostgresStore(Store):
    """A database."""

    steps = tuple(sorted(STEPS))
    first = "fenced"

    def __init__(self, conninfo: str) -> None:
        super().__init__(conninfo, {})

    def unexplained(
        self, sink: Sink, masks: TableMasks, truth: Iterable[TruthRow], as_of: str, why: Explained
    ) -> Differences:
        """By the keys of the view's rows."""
        return unexplained(sink, self.dsn, masks, truth, as_of, why)


class ClickHouseStore(Store):
    """Databases of a prefix. `merging`: the server merges parts as it likes, else never."""

    steps = tuple(sorted(CLICKHOUSE_STEPS))
    first = "behind the fence"

    def __init__(self, place: ChDatabase, *, merging: bool = True) -> None:
        self._place = place
        self._merging = merging
        self._state = f"{place.prefix}cdc"
        super().__init__(
            f"http://{place.host}:{place.port}",
            {
                "kind": "clickhouse",
                "username": place.username,
                "password": place.password,
                "prefix": place.prefix,
                "state_database": self._state,
                "batch": {"rows": 250},
                "pace": "0s",
            },
        )

    def prepared(self) -> None:
        """Stops the merges, where they are not wanted."""
        if self._merging:
            return
        with closing(self._place.client()) as client:
            for (name,) in client.query(
                f"SELECT name FROM system.tables WHERE database = '{self._state}' AND engine LIKE '%MergeTree'"
            ).result_rows:
                client.command(f"SYSTEM STOP MERGES `{self._state}`.`{name}`")

    def unexplained(
        self, sink: Sink, masks: TableMasks, truth: Iterable[TruthRow], as_of: str, why: Explained
    ) -> Differences:
        """Nothing is parked that profile `exact` holds: all differs that differs."""
        found = sink.compare(masks.table, masks, truth, as_of)
        return found.missing, found.extra
