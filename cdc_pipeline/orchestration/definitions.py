"""Everything that Dagster loads, put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import structlog

from cdc_pipeline.config import Settings, load_config
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.archive import archive_asset, archive_sensor
from cdc_pipeline.orchestration.catalog import Catalog, read_catalog
from cdc_pipeline.orchestration.checks import all_checks
from cdc_pipeline.orchestration.commit_log_sensor import commit_log_sensor
from cdc_pipeline.orchestration.dead_letters import dead_letter_asset
from cdc_pipeline.orchestration.drain import drain_assets, drain_job
from cdc_pipeline.orchestration.failure_sensor import failure_sensor
from cdc_pipeline.orchestration.lane_drain import Watch
from cdc_pipeline.orchestration.offsets import offsets_asset
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.prepare import prepare_job
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.purge import purge_job, purge_schedule
from cdc_pipeline.orchestration.reload import reload_job
from cdc_pipeline.orchestration.schema_sensor import schema_sensor
from cdc_pipeline.orchestration.sources import source_specs
from cdc_pipeline.project import Project

log = structlog.get_logger()

_UNCONFIGURED = (
    "no configuration: expected CDC_CONFIG or ./cdc.yaml (or CDC_SOURCE and CDC_DESTINATIONS), found none; set one "
    "and reload this code location"
)


def build_definitions(
    source: Project | Settings, options: Options | None = None, watch: Watch = lambda _: None
) -> dg.Definitions:
    """The definitions of a configured project; nothing is connected or started here.

    `watch` is called with the runner of each drain in this process: once it is open, and after each micro-batch.
    """
    projects = Projects.of(source)
    options = options or Options()
    catalog = read_catalog(projects)
    drains = _drains(catalog, options, projects, watch)
    drain_jobs = [drain_job(name, assets, catalog, options) for name, assets in drains.items()]
    prepare = prepare_job(projects)
    purge = purge_job(projects)
    archived = catalog.settings.source.archive is not None
    audited = [offsets_asset(projects, options), *_dead_letters(catalog, options, projects)]
    if archived:
        audited.append(archive_asset(projects, options))
    checks = all_checks(catalog, projects)
    audit = dg.define_asset_job(
        names.AUDIT_JOB, selection=dg.AssetSelection.assets(*audited) | dg.AssetSelection.checks(*checks)
    )
    sensors = [schema_sensor(projects, prepare), failure_sensor()]
    if archived:
        sensors.append(archive_sensor(projects))
    if drain_jobs:
        sensors.append(commit_log_sensor(catalog, options, projects, drain_jobs))
    return dg.Definitions(
        assets=[*source_specs(catalog, options), *drains.values(), *audited],
        asset_checks=checks,
        jobs=[*drain_jobs, reload_job(catalog, projects), prepare, purge, audit],
        sensors=sensors,
        schedules=[_audit_schedule(audit), purge_schedule(purge)],
        executor=dg.in_process_executor,  # a run is one lane: a process per step only costs
        metadata=_metadata(catalog),
    )


def load_definitions(config: Path | None = None) -> dg.Definitions:
    """The definitions of a configuration file (default: `CDC_CONFIG`, else `cdc.yaml`, else the environment).

    With none of these there are no lanes, and the code location's metadata says why; a configuration that is there
    and wrong is an error, so that the code location shows it.
    """
    if config is None and not _is_configured():
        log.warning(_UNCONFIGURED)
        return dg.Definitions(metadata={"cdc_pipeline": dg.MetadataValue.text(_UNCONFIGURED)})
    return build_definitions(load_config(config))


def _is_configured() -> bool:
    return any(map(os.environ.get, ("CDC_CONFIG", "CDC_SOURCE"))) or Path("cdc.yaml").exists()


def _drains(catalog: Catalog, options: Options, projects: Projects, watch: Watch) -> dict[str, Any]:
    """A destination without a table to load has no lanes yet."""
    return {
        name: drain_assets(catalog, name, options, projects, watch) for name, tables in catalog.plans.items() if tables
    }


def _dead_letters(catalog: Catalog, options: Options, projects: Projects) -> list[Any]:
    kinds = {name: catalog.settings.destinations[name].kind for name in catalog.plans}
    return [dead_letter_asset(name, kind, projects, options) for name, kind in kinds.items()]


def _audit_schedule(audit: Any) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="audit_schedule",
        job=audit,
        cron_schedule="*/15 * * * *",
        description="Keeps cdc/offsets, the archive and the dead letters fresh, and runs the checks.",
    )


def _metadata(catalog: Catalog) -> dict[str, Any]:
    lanes = ", ".join(map(str, catalog.lanes))
    return {"lanes": lanes, **({"note": catalog.note} if catalog.note else {})}
