"""A real ClickHouse with a sink in front of it, and short ways to look into it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from contextlib import closing
from typing import Any

from cdc_pipeline.load.clickhouse import ddl, names, view
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.parity import as_of_setting
from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.destination import Destination

_BY_THE_WAY = (ddl.APPLIED, ddl.LASTING, ddl.PASSING, ddl.LAST)
"""Columns that hang on when and in which micro-batches something came; none of them is shown."""


def address_of(place: ChDatabase, **how: Any) -> Address:
    """Where the server of a place answers."""
    return Address(place.host, place.port, place.username, place.password, **how)


@dataclasses.dataclass
class ClickHouseDestination(Destination):
    """Tables of one place behind one sink, as one lane fills it; `conninfo` is nothing here."""

    place: ChDatabase = dataclasses.field(kw_only=True)
    options: ClickHouseOptions = dataclasses.field(default_factory=ClickHouseOptions, kw_only=True)

    def __post_init__(self) -> None:
        chosen = dataclasses.replace(self.options, state_database=f"{self.place.prefix}cdc", prefix=self.place.prefix)

        def make(name: str, _: str, profile: str, overrides: dict[str, str]) -> ClickHouseSink:
            return ClickHouseSink(name, address_of(self.place, send_receive_timeout=60), profile, overrides, chosen)

        self.make_sink = make  # type: ignore[assignment]
        super().__post_init__()

    def plan(self, table: Table) -> TablePlan:
        """What a table became."""
        assert isinstance(self.sink, ClickHouseSink)
        return self.sink.table_plan(table, self.masks[table.full_name])

    def query_of_rows(self, table: Table) -> str:
        """What the view of a table's rows selects, as the server has it."""
        asked = {"name": names.state_table(table, "rows"), "database": f"{self.place.prefix}cdc"}
        query = "SELECT as_select FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        with closing(self.place.client()) as client:
            return str(client.query(query, parameters=asked).result_rows[0][0])

    def state_tables(self, table: Table) -> list[str]:
        """The state tables of a table, quoted."""
        return [name for name, _, _ in ddl.tables(self.plan(table))]

    def run(self, *statements: str) -> None:
        """Statements, on a connection of their own."""
        with closing(self.place.client()) as client:
            for statement in statements:
                client.command(statement)

    def query(self, statement: str, *parameters: object, as_of: int | None = None) -> list[tuple[Any, ...]]:
        """The rows of a query; `{p}` is the prefix; `as_of` (s since 1970) is the views' clock."""
        settings = {}
        if as_of is not None:
            settings = as_of_setting(dt.datetime.fromtimestamp(as_of, dt.UTC).isoformat())
        with closing(self.place.client()) as client:
            found = client.query(statement.replace("{p}", self.place.prefix), settings=settings)
            return [tuple(row) for row in found.result_rows]

    def stop_merges(self, table: Table) -> None:
        """Every insert stays a part."""
        self.run(*(f"SYSTEM STOP MERGES {name}" for name in self.state_tables(table)))

    def merge(self, table: Table) -> None:
        """All parts become one."""
        names = self.state_tables(table)
        self.run(
            *(f"SYSTEM START MERGES {name}" for name in names), *(f"OPTIMIZE TABLE {name} FINAL" for name in names)
        )

    def parts(self, state: str) -> int:
        """How many parts a state table has."""
        database, name = (part.strip("`") for part in state.split(".", 1))
        query = f"SELECT count() FROM system.parts WHERE active AND database = '{database}' AND table = '{name}'"
        return int(self.query(query)[0][0])

    def state(self, table: Table) -> list[list[str]]:
        """Every merged row of every state table as text: what must be the same whatever the order of loading."""
        found = []
        for name, columns, _ in ddl.tables(self.plan(table)):
            listed = ", ".join(quoted(column) for column, _ in columns if column not in _BY_THE_WAY)
            # whole columns: an element of a tuple read under FINAL comes from any of the versions of a row
            rows = self.query(f"SELECT toString(tuple(s.*)) FROM (SELECT {listed} FROM {name} FINAL) AS s ORDER BY 1")
            found.append([text for (text,) in rows])
        return found

    def drop(self, table: Table) -> None:
        """Removes what a table became."""
        statements = [f"DROP TABLE IF EXISTS {name} SYNC" for name in self.state_tables(table)]
        shown = [f"DROP VIEW IF EXISTS {one.quoted}" for one in view.views(self.plan(table))]
        self.run(*reversed(shown), *statements)


def state_of(place: ChDatabase) -> dict[str, list[str]]:
    """Every merged row of every state table of a place, and of its dead letters, as text."""
    hidden = ", ".join(f"'{name}'" for name in (*_BY_THE_WAY, "said", "failed_at"))
    found = {}
    with closing(place.client()) as client:
        names = client.query(
            f"SELECT name FROM system.tables WHERE database = '{place.prefix}cdc' AND engine LIKE '%MergeTree' "
            "AND name NOT IN ('cdc_offsets', 'cdc_tables', 'mask_keys') ORDER BY name"
        ).result_rows
        for (name,) in names:
            listed = client.query(
                f"SELECT arrayStringConcat(groupArray(concat('`', name, '`')), ', ') FROM system.columns "
                f"WHERE database = '{place.prefix}cdc' AND table = '{name}' AND name NOT IN ({hidden})"
            ).result_rows[0][0]
            query = f"SELECT {listed} FROM `{place.prefix}cdc`.`{name}` FINAL"
            rows = client.query(f"SELECT toString(tuple(s.*)) FROM ({query}) AS s ORDER BY 1").result_rows
            found[name] = [text for (text,) in rows]
    return found


def again(table: Table) -> Table:
    """A table of the same shape, with a name and an id of its own."""
    unique = uuid.uuid1()
    return dataclasses.replace(table, name=f"t{unique.hex}", id=unique)
