from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdc_pipeline.config import load_config
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.orchestration import Options, build_definitions
from cdc_pipeline.orchestration.definitions import load_definitions
from cdc_pipeline_tests.orchestration.conftest import MakeSite, Site

USERS = dg.AssetKey(["warehouse", "ecommerce", "users"])
SOURCE = dg.AssetKey(["cassandra", "ecommerce", "users"])
LOG = dg.AssetKey(["cdc", "commitlog"])


@pytest.fixture
def definitions(site: Site) -> dg.Definitions:
    """The definitions of a shop."""
    return build_definitions(site.project, Options(owners=("team:data",)))


def spec(definitions: dg.Definitions, key: dg.AssetKey) -> dg.AssetSpec:
    """The spec of one asset."""
    return next(one for one in definitions.resolve_all_asset_specs() if one.key == key)


def test_they_load(definitions: dg.Definitions) -> None:
    """Dagster finds nothing to complain about."""
    dg.Definitions.validate_loadable(definitions)


def test_a_table_lies_behind_its_source_and_the_log(definitions: dg.Definitions) -> None:
    """A destination's table depends on its Cassandra table and on the log, partitioned by shard."""
    users = spec(definitions, USERS)
    assert {dep.asset_key for dep in users.deps} == {SOURCE, LOG}
    assert users.partitions_def == dg.StaticPartitionsDefinition(["node1"])
    assert spec(definitions, LOG).partitions_def == users.partitions_def
    assert spec(definitions, SOURCE).partitions_def is None
    assert (users.group_name, users.kinds, list(users.owners)) == ("warehouse", {"postgres"}, ["team:data"])


def test_the_sources_are_external(definitions: dg.Definitions) -> None:
    """Cassandra's tables and the log cannot be materialized; the rest can."""
    graph = definitions.resolve_asset_graph()
    outside = graph.external_asset_keys
    assert {key.path[0] for key in outside} == {"cassandra", "cdc"}
    assert {key.path[0] for key in graph.get_all_asset_keys() - outside} == {"warehouse", "dlq", "cdc"}


def test_masked_columns_are_tagged_on_both_sides(definitions: dg.Definitions) -> None:
    """Column schemas tag what is masked, and lineage leads from each column to its source, masked ones included."""
    source = {c.name: c for c in spec(definitions, SOURCE).metadata["dagster/column_schema"].columns}
    loaded = {c.name: c for c in spec(definitions, USERS).metadata["dagster/column_schema"].columns}
    assert (source["email"].tags, source["email"].type) == ({"pii": ""}, "text")
    assert loaded["email"].tags == {"pii": "hashed"}
    assert not loaded["user_id"].constraints.nullable
    patients = dg.AssetKey(["warehouse", "ecommerce", "patients"])
    tagged = [c.name for c in spec(definitions, patients).metadata["dagster/column_schema"].columns if "phi" in c.tags]
    assert "diagnosis" in tagged
    lineage = spec(definitions, USERS).metadata["dagster/column_lineage"].deps_by_column
    assert lineage["email"] == [dg.TableColumnDep(SOURCE, "email")]
    assert lineage.keys() == loaded.keys()


def test_a_refused_table_says_why(make_site: MakeSite) -> None:
    """A table that a destination refuses is a source with the reason, and no destination's asset: counters that were
    made before the log at hand begins."""
    definitions = build_definitions(make_site(segments=[1]).project, Options())
    views = spec(definitions, dg.AssetKey(["cassandra", "ecommerce", "page_views"]))
    assert "Not loaded into warehouse: its counters began" in str(views.description)
    assert ["warehouse", "ecommerce", "page_views"] not in [s.key.path for s in definitions.resolve_all_asset_specs()]


def test_nothing_runs_unasked(definitions: dg.Definitions) -> None:
    """Sensors and schedules are stopped: turning the sensor on moves data, and a person does that."""
    repository = definitions.get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {"commit_log", "schema", "run_failure"}
    assert {s.default_status for s in repository.sensor_defs} == {dg.DefaultSensorStatus.STOPPED}
    assert {s.default_status for s in repository.schedule_defs} == {dg.DefaultScheduleStatus.STOPPED}


def test_the_jobs(definitions: dg.Definitions) -> None:
    """A drain per destination, reload, preparation, purge, audit."""
    names = {job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")}
    assert names == {"drain_warehouse_job", "segment_reload", "prepare_tables", "purge_tombstones", "audit"}


def test_the_reload_shows_its_ops(definitions: dg.Definitions) -> None:
    """The graph of a reload is plan, parse, mask, load, partitioned by shard."""
    job = definitions.resolve_job_def("segment_reload")
    assert [node.name for node in job.nodes_in_topological_order] == ["plan", "parse", "mask", "load"]
    assert job.partitions_def == dg.StaticPartitionsDefinition(["node1"])


def configured(folder: Path, **changes: Any) -> Path:
    """A configuration with an embedded destination and what is given."""
    config = {
        "source": {"shards": {"a-1": {"directory": "raw"}}, "schema": {"contact_points": ["127.0.0.1"], "port": 1}},
        "destinations": {"eu.west-1": {"kind": "postgres", "embedded": True, "directory": "pg"}},
        "masking": {},
    }
    path = folder / "cdc.yaml"
    path.write_text(json.dumps(config | changes))
    return path


def test_loading_starts_and_connects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the embedded server nor the cluster is needed to load; without a snapshot there are no tables yet."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    definitions = build_definitions(load_config(configured(tmp_path)))
    dg.Definitions.validate_loadable(definitions)
    assert not (tmp_path / "pg").exists()
    assert "turn the schema sensor on" in str(definitions.metadata["note"])


def test_a_clusters_snapshot_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot that the schema sensor keeps gives the tables of a cluster that is not asked."""
    from cdc_pipeline.orchestration.catalog import snapshot_path

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = load_config(configured(tmp_path))
    path = snapshot_path(settings)
    assert path is not None
    path.write_bytes(site.schema.read_bytes())
    definitions = build_definitions(settings)
    dg.Definitions.validate_loadable(definitions)
    assert dg.AssetKey(["eu.west-1", "ecommerce", "users"]) in {s.key for s in definitions.resolve_all_asset_specs()}
    assert "note" not in definitions.metadata


def test_a_destination_named_as_the_source_is_refused(site: Site, tmp_path: Path) -> None:
    """`cassandra` as a destination is one clear sentence."""
    destinations = {"cassandra": {"kind": "postgres", "host": "127.0.0.1"}}
    path = configured(tmp_path, source=_file_source(site), destinations=destinations)
    with pytest.raises(ConfigurationError, match="expected another name than cassandra"):
        build_definitions(load_config(path))


def test_a_wrong_configuration_is_an_error(make_site: MakeSite, tmp_path: Path) -> None:
    """What is there and wrong is said, not skipped."""
    path = configured(tmp_path, source={**_file_source(make_site()), "shardz": {}})
    with pytest.raises(ConfigurationError, match="shardz"):
        load_definitions(path)


def _file_source(site: Site) -> dict[str, Any]:
    return {"shards": {"node1": {"directory": "raw"}}, "schema": {"file": str(site.schema)}}
