"""What follows when Cassandra drops a column or a table: hidden or shown on, kept or removed, as the user chose."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import Any, ClassVar

import pytest

from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.drops import Choice, DropsContract, Place


@dataclasses.dataclass
class ClickHousePlace(Place):
    """Databases of a prefix."""

    database: ChDatabase
    everything = ("ks.t", "ks.t:ranges", "ks.t:rows", "ks.t:static", "ks.t:statics", "t")
    no_elements: ClassVar[list[Any] | None] = []

    def destination(self, of: Table, choice: Choice) -> ClickHouseDestination:
        """A sink with the choice among its options."""
        options = ClickHouseOptions(**dataclasses.asdict(choice))
        return ClickHouseDestination("", (of,), place=self.database, options=options).prepare()

    def seen(self) -> list[dict[str, Any]]:
        """The view's rows."""
        with closing(self.database.client()) as client:
            return list(client.query(f"SELECT * FROM {self.database.prefix}ks.t").named_results())

    def relations(self) -> tuple[str, ...]:
        """Tables of the state, views over them, and the view that users read, without the table's id."""
        query = f"SELECT name FROM system.tables WHERE startsWith(database, '{self.database.prefix}')"
        with closing(self.database.client()) as client:
            names = [name for (name,) in client.query(query).result_rows if name == "t" or name.startswith("ks.t")]
        return tuple(sorted(name.partition("#")[0] + name.partition("#")[2][12:] for name in names))


class TestClickHouse(DropsContract):
    """The contract."""

    @pytest.fixture
    def place(self, ch_database: ChDatabase) -> ClickHousePlace:
        """A fresh prefix."""
        return ClickHousePlace(ch_database)
