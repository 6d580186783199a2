"""A site's log in ClickHouse: a project over it, and what an uninterrupted load leaves there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from cdc_pipeline.project import Project
from cdc_pipeline_tests.chaos.workload import Site
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.integration.workspace import drained, offset

VIEWS = ("users", "events", "clock")
RETRY = {"attempts": 300, "wait": 0.02, "max_wait": 0.1}
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass
class Lake:
    """One log, and a function that gives places to load it into."""

    site: Site
    make: Callable[[], ChDatabase]

    def project(self, place: ChDatabase, port: int | None = None, name: str = "project", **chosen: Any) -> Project:
        """A project over a place, reached by another port where one is given; `chosen` goes to the destination."""
        retry = chosen.pop("retry", RETRY)
        workspace = self.site.workspace(f"http://127.0.0.1:{port or place.port}", name, retry=retry)
        workspace.destination = {
            "kind": "clickhouse",
            "username": place.username,
            "password": place.password,
            "prefix": place.prefix,
            "state_database": f"{place.prefix}cdc",
            "batch": {"rows": 60},
            "pace": "0s",
            **chosen,
        }
        return workspace.project()

    def assert_exact(self, place: ChDatabase) -> None:
        """A lane goes on to the end, and has counted each change once; users see what an uninterrupted one leaves."""
        with self.project(place) as project:
            runner = drained(project)
            assert runner.result.problems == []
            assert offset(runner).events_processed == self.site.changes
            whole = self.make()
            with self.project(whole, name="whole") as another:
                assert offset(runner).position == offset(drained(another)).position
        assert shown(place) == shown(whole)
        assert all(shown(place).values())


def shown(place: ChDatabase) -> Rows:
    """What users see of each table."""
    return {name: query(place, f"SELECT * FROM {{p}}ks.{name} ORDER BY ALL") for name in VIEWS}


def query(place: ChDatabase, text: str) -> list[tuple[Any, ...]]:
    """The rows of a query; `{p}` is the place's prefix."""
    with closing(place.client()) as client:
        return [tuple(row) for row in client.query(text.replace("{p}", place.prefix)).result_rows]


def run(place: ChDatabase, *statements: str) -> None:
    """Statements; `{p}` is the place's prefix."""
    with closing(place.client()) as client:
        for statement in statements:
            client.command(statement.replace("{p}", place.prefix))


def backup(place: ChDatabase) -> Callable[[], None]:
    """A copy of all that is kept; what is returned puts it back."""
    state = f"{place.prefix}cdc"
    listed = f"SELECT name FROM system.tables WHERE database = '{state}' AND engine LIKE '%MergeTree'"
    names = [name for (name,) in query(place, listed)]
    run(place, "CREATE DATABASE `{p}backup`")
    for name in names:
        run(place, f"CREATE TABLE `{{p}}backup`.`{name}` AS `{state}`.`{name}`")
        run(place, f"INSERT INTO `{{p}}backup`.`{name}` SELECT * FROM `{state}`.`{name}`")

    def restore() -> None:
        for name in names:
            run(place, f"TRUNCATE TABLE `{state}`.`{name}`")
            run(place, f"INSERT INTO `{state}`.`{name}` SELECT * FROM `{{p}}backup`.`{name}`")

    return restore
