from __future__ import annotations

import dagster as dg
import pytest

from cdc_pipeline.dlq import FailureReason
from cdc_pipeline.orchestration import build_definitions, materialize_lane, names
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site, value_of

DLQ = dg.AssetKey(["dlq", "warehouse"])


@pytest.fixture
def parked(make_site: MakeSite, instance: dg.DagsterInstance) -> tuple[Site, int]:
    """A recording of which some changes do not fit the native types, drained; and how many were parked."""
    site = make_site("random-5.0-s1", profile="native", segments=[0])
    result = materialize_lane(site.project, LANE, instance)
    assert result.parked_changes > 0
    return site, result.parked_changes


def newest(instance: dg.DagsterInstance) -> dg.AssetMaterialization:
    """The newest report."""
    event = instance.get_latest_materialization_event(DLQ)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_a_drain_reports_what_it_parked(parked: tuple[Site, int], instance: dg.DagsterInstance) -> None:
    """The drain that parked changes says so on the DLQ asset, by table and reason."""
    report = newest(instance).metadata
    assert value_of(report, "parked") == parked[1]
    assert "| VALUE_OUT_OF_RANGE |" in value_of(report, "by_table")


def test_an_audit_reports_the_same(parked: tuple[Site, int], instance: dg.DagsterInstance) -> None:
    """Materializing the asset counts again; more than a hundredth parked turns its check yellow, not red."""
    drained = newest(instance)
    job = build_definitions(parked[0].project).resolve_job_def(names.AUDIT_JOB)
    evaluations = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert newest(instance).metadata == drained.metadata
    (rate,) = [one for one in evaluations if one.check_name == "dead_letter_rate"]
    assert (rate.passed, rate.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_letters_are_counted_and_listed(parked: tuple[Site, int]) -> None:
    """The sink lists the letters that it counts, the newest first, by table and reason when asked."""
    site, total = parked
    sink = site.project.sink("warehouse")
    counts = sink.dead_letter_counts()
    assert sum(count.letters for count in counts) == total
    letters = sink.dead_letters(limit=total + 1)
    assert len(letters) == total
    assert letters == sorted(letters, key=lambda letter: letter.failed_at, reverse=True)
    first = counts[0]
    some = sink.dead_letters(first.table, first.reason, limit=total + 1)
    assert len(some) == first.letters
    assert {(f"{one.keyspace}.{one.table}", one.reason) for one in some} == {(first.table, FailureReason(first.reason))}
    assert len(sink.dead_letters(limit=2)) == 2


def test_a_destination_that_never_ran_has_none(site: Site) -> None:
    """Where the store was not made yet there is nothing to count or list."""
    sink = site.project.sink("warehouse")
    assert (sink.dead_letter_counts(), sink.dead_letters()) == ([], [])
