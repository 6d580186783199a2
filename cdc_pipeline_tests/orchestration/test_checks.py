from __future__ import annotations

import json

import dagster as dg

from cdc_pipeline.orchestration import build_definitions, materialize_lane
from cdc_pipeline.orchestration.names import AUDIT_JOB
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site, value_of


def audit(site: Site, instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """What the checks say, by their name and the last part of their asset."""
    job = build_definitions(site.project).resolve_job_def(AUDIT_JOB)
    evaluations = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    return {f"{one.check_name} {one.asset_key.path[-1]}": one for one in evaluations}


def offsets(instance: dg.DagsterInstance) -> dict[str, dg.MetadataValue]:
    """The newest audit."""
    event = instance.get_latest_materialization_event(dg.AssetKey(["cdc", "offsets"]))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def test_before_the_first_run(site: Site, instance: dg.DagsterInstance) -> None:
    """A lane that never ran is no contradiction."""
    assert audit(site, instance)["offset_continuity offsets"].passed
    assert "not started" in str(offsets(instance)["lanes"].value)


def test_after_a_run_both_are_equal(site: Site, instance: dg.DagsterInstance) -> None:
    """A drained lane stands equal on both sides, nothing parked."""
    materialize_lane(site.project, LANE, instance)
    checks = audit(site, instance)
    assert checks["offset_continuity offsets"].passed
    assert checks["dead_letter_rate warehouse"].passed
    report = offsets(instance)
    assert "| equal |" in str(value_of(report, "lanes"))
    assert value_of(report, "events_processed") == site.offsets()[0][4]


def test_a_copy_ahead_is_red(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A destination that was wiped is found by the check before a run stumbles over it."""
    materialize_lane(make_site().project, LANE, instance)
    continuity = audit(make_site(), instance)["offset_continuity offsets"]
    assert (continuity.passed, continuity.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "warehouse/node1" in str(continuity.description)


def test_a_destination_that_is_down_hides_no_other(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A destination that cannot be asked is a problem in its row; the others are audited."""
    site = make_site()
    config = json.loads(site.config.read_text())
    config["destinations"]["down"] = {"kind": "postgres", "host": "127.0.0.1", "port": 1}
    site.config.write_text(json.dumps(config))
    from cdc_pipeline.config import load_config
    from cdc_pipeline.orchestration.offsets import offsets_asset
    from cdc_pipeline.orchestration.options import Options
    from cdc_pipeline.orchestration.projects import Projects

    asset = offsets_asset(Projects.of(load_config(site.config)), Options())
    assert dg.materialize([asset], instance=instance).success
    lanes = str(offsets(instance)["lanes"].value)
    assert "| down/node1 | - | - | unknown |" in lanes
    assert "| warehouse/node1 | - | - | not started |" in lanes
    assert "cannot be reached" in lanes


def test_unclassified_text_is_yellow(site: Site, instance: dg.DagsterInstance) -> None:
    """A table with text that nobody classified asks for a review, and names the columns, masked ones apart."""
    users = audit(site, instance)["masking_review users"]
    assert (users.passed, users.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "full_name" in str(value_of(users.metadata, "unclassified"))
    assert "email" in str(value_of(users.metadata, "masked"))
