"""PostgreSQL and ClickHouse as two destinations of one code location."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_pipeline.errors import CdcError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import Options, build_definitions, materialize_lane
from cdc_pipeline.project import Project
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.orchestration.conftest import Site

LAKE = Lane("lake", "node1")
USERS = dg.AssetKey(["lake", "ecommerce", "users"])

Make = Callable[..., Project]


@pytest.fixture
def make(site: Site, ch_database: ChDatabase) -> Iterator[Make]:
    """A function that gives the site's project with a ClickHouse beside its PostgreSQL; `lake` changes that."""
    projects: list[Project] = []

    def made(**lake: Any) -> Project:
        config = json.loads(site.config.read_text())
        config["destinations"]["lake"] = {
            "kind": "clickhouse",
            "host": ch_database.host,
            "port": ch_database.port,
            "username": ch_database.username,
            "password": ch_database.password,
            "prefix": ch_database.prefix,
            "state_database": f"{ch_database.prefix}cdc",
            "types": {"profile": "exact"},
            **lake,
        }
        path = Path(site.config.with_name(f"two{len(projects)}.yaml"))
        path.write_text(json.dumps(config))
        projects.append(Project.load(path))
        return projects[-1]

    yield made
    for project in projects:
        project.close()


def test_each_has_its_assets(make: Make) -> None:
    """A group, a job, dead letters and tables for each destination, of its kind, all behind the same sources."""
    definitions = build_definitions(make(), Options())
    dg.Definitions.validate_loadable(definitions)
    specs = {one.key: one for one in definitions.resolve_all_asset_specs()}
    there = {name: {tuple(key.path[1:]) for key in specs if key.path[0] == name} for name in ("warehouse", "lake")}
    assert there["warehouse"] == there["lake"] != set()
    for name, kind in (("warehouse", "postgres"), ("lake", "clickhouse")):
        users = specs[dg.AssetKey([name, "ecommerce", "users"])]
        assert (users.group_name, users.kinds) == (name, {kind})
        assert {dep.asset_key.to_user_string() for dep in users.deps} == {"cassandra/ecommerce/users", "cdc/commitlog"}
        assert specs[dg.AssetKey(["dlq", name])].kinds == {kind}
        types = {c.name: c.type for c in users.metadata["dagster/column_schema"].columns}
        assert types["email"] == ("text" if kind == "postgres" else "Nullable(String)")
        assert definitions.resolve_job_def(f"drain_{name}_job").name == f"drain_{name}_job"


def test_a_run_of_one_is_no_run_of_the_other(make: Make, site: Site, instance: dg.DagsterInstance) -> None:
    """The drain of ClickHouse materializes its own assets, with the rows that users see; PostgreSQL stays empty."""
    project = make()
    result = materialize_lane(project, LAKE, instance)
    assert result.applied > 100
    assert site.offsets() == []
    event = instance.get_latest_materialization_event(USERS)
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    sink = project.sink("lake")
    for masks in project.loaded(sink).values():
        sink.prepare([(masks.table, masks)])
    assert metadata["dagster/row_count"].value == sink.row_count("ecommerce.users") > 10
    assert instance.get_latest_materialization_event(dg.AssetKey(["warehouse", "ecommerce", "users"])) is None


def test_one_that_is_down_fails_alone(make: Make, site: Site, instance: dg.DagsterInstance) -> None:
    """Its run fails with the destination's sentence; the other lane's run loads everything."""
    project = make(port=1)
    with pytest.raises(CdcError, match="destination lake"):
        materialize_lane(project, LAKE, instance)
    result = materialize_lane(project, Lane("warehouse", "node1"), instance)
    assert result.applied > 100
    ((_, _, _, _, events, _),) = site.offsets()
    assert events == result.changes.total()
