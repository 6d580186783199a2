from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import build_definitions, materialize_lane
from cdc_pipeline.orchestration.names import ARCHIVE, AUDIT_JOB
from cdc_pipeline.project import Project
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site, value_of


def with_archive(site: Site, **shard: object) -> Project:
    """The site's project with an archive, every segment of its `cdc_raw` finished."""
    config = json.loads(site.config.read_text())
    config["source"]["archive"] = {"directory": "archive", "retention": "0s"}
    config["source"]["shards"]["node1"] |= shard
    site.config.write_text(json.dumps(config))
    for index in site.raw.glob("*_cdc.idx"):
        index.write_text(index.read_text().split()[0] + "\nCOMPLETED")
    return Project.load(site.config)


def tick(project: Project, instance: dg.DagsterInstance) -> dg.SensorResult:
    """One tick of the archive's sensor."""
    sensor = build_definitions(project).get_repository_def().get_sensor_def("archive")
    result = sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    return result


def report(instance: dg.DagsterInstance) -> dict[str, dg.MetadataValue]:
    """The newest materialization of `cdc/archive`."""
    event = instance.get_latest_materialization_event(ARCHIVE)
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def indexed(raw: Path) -> int:
    """Segments with an index."""
    return len(list(raw.glob("*_cdc.idx")))


def test_without_an_archive_there_is_none(site: Site) -> None:
    """No sensor that moves files, no asset."""
    repository = build_definitions(site.project).get_repository_def()
    assert "archive" not in {sensor.name for sensor in repository.sensor_defs}
    assert ARCHIVE not in repository.asset_graph.get_all_asset_keys()


def test_from_cdc_raw_to_the_archive_and_out(site: Site, instance: dg.DagsterInstance) -> None:
    """A tick moves what is finished; the drain reads it there; the audit prunes what the lane has passed."""
    project = with_archive(site)
    count = indexed(site.raw)
    result = tick(project, instance)
    assert indexed(site.raw) == 0
    assert f"{count} segments moved" in str(result.skip_reason)
    (observed,) = result.asset_events
    assert value_of(observed.metadata, "freed_bytes") > 0
    assert "nothing is finished" in str(tick(project, instance).skip_reason)
    job = build_definitions(project).resolve_job_def(AUDIT_JOB)
    assert job.execute_in_process(instance=instance).success
    assert (value_of(report(instance), "segments"), value_of(report(instance), "removed")) == (count, 0)
    assert "warehouse/node1" in str(value_of(report(instance), "shards"))
    assert materialize_lane(project, LANE, instance).changes.total() > 1000
    assert job.execute_in_process(instance=instance).success
    assert (value_of(report(instance), "segments"), value_of(report(instance), "removed")) == (0, count)
    assert list((site.folder / "archive" / "node1").glob("*.log")) == []


def test_what_cannot_be_moved_fails_the_tick(site: Site, instance: dg.DagsterInstance) -> None:
    """A segment that stays is told in the tick."""
    project = with_archive(site)
    (site.folder / "archive" / "node1").mkdir(parents=True)
    for path in site.raw.glob("*.log"):
        (site.folder / "archive" / "node1" / path.name).write_bytes(b"another")
    with pytest.raises(CdcError, match="found another content; it stays"):
        tick(project, instance)


def test_a_destination_that_is_down_keeps_everything(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """While a lane cannot be asked nothing leaves, and the report says why."""
    site = make_site()
    project = with_archive(site)
    tick(project, instance)
    materialize_lane(project, LANE, instance)
    config = json.loads(site.config.read_text())
    config["destinations"]["down"] = {"kind": "postgres", "host": "127.0.0.1", "port": 1}
    site.config.write_text(json.dumps(config))
    with Project.load(site.config) as project:
        from cdc_pipeline.orchestration.archive import archive_asset
        from cdc_pipeline.orchestration.options import Options
        from cdc_pipeline.orchestration.projects import Projects

        asset = archive_asset(Projects.of(project), Options())
        dg.materialize([asset], instance=instance)
    assert (value_of(report(instance), "removed"), value_of(report(instance), "problems")) == (0, 1)


@pytest.mark.parametrize(
    ("total", "passed", "severity"),
    [("64GiB", True, None), ("1KiB", False, dg.AssetCheckSeverity.ERROR)],
)
def test_the_cdc_space(
    site: Site, instance: dg.DagsterInstance, total: str, passed: bool, severity: dg.AssetCheckSeverity | None
) -> None:
    """The check on the log is red when the next segment would not fit."""
    project = with_archive(site, cdc_total_space=total)
    job = build_definitions(project).resolve_job_def(AUDIT_JOB)
    evaluations = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    (found,) = [one for one in evaluations if one.check_name == "cdc_space"]
    assert found.passed is passed
    assert severity is None or found.severity is severity
    assert "MiB used" in str(value_of(found.metadata, "node1"))
