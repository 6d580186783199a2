"""What follows when Cassandra drops a column or a table: hidden or shown on, kept or removed, as the user chose."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import psycopg
import pytest

from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.drops import OF, REMOVED, Choice, DropsContract, Place, There, drop


@dataclasses.dataclass
class Database(Place):
    """A database of the embedded server."""

    conninfo: str
    everything = ("ks.t", "ks.t:ranges", "ks.t:static", "t")
    no_elements = None

    def destination(self, of: Table, choice: Choice) -> Destination:
        """A sink with the choice among its options."""
        options = PostgresOptions(**dataclasses.asdict(choice))
        return Destination(self.conninfo, (of,), make_sink=lambda *a: PostgresSink(*a, options)).prepare()

    def seen(self) -> list[dict[str, Any]]:
        """The view's rows."""
        return [row for (row,) in self._query("SELECT to_jsonb(t) FROM ks.t t")]

    def relations(self) -> tuple[str, ...]:
        """Tables and views, without the number of the table."""
        found = self._query(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND (relname LIKE 'ks.t%' OR relname = 't')"
        )
        return tuple(sorted(re.sub(r"#\d+", "", name) for (name,) in found))

    def _query(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


class TestPostgres(DropsContract):
    """The contract, and what is PostgreSQL's own."""

    @pytest.fixture
    def place(self, pg_database: str) -> Database:
        """A fresh database."""
        return Database(pg_database)

    def test_what_somebody_depends_on_stays(self, there: There, capsys: pytest.CaptureFixture[str]) -> None:
        """A view of the user's own on ours keeps the table, and the log says so; loading goes on."""
        destination = there(REMOVED)
        with psycopg.connect(destination.conninfo, autocommit=True) as connection:
            connection.execute("CREATE VIEW public.mine AS SELECT id FROM ks.t")
        drop(destination, OF)
        assert destination.query("SELECT * FROM public.mine") == [(1,)]
        assert "mine depends on it" in capsys.readouterr().out
