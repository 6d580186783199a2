from __future__ import annotations

import shutil
import threading
import time

import dagster as dg

from cdc_pipeline.orchestration import OffsetCopies, materialize_lane
from cdc_pipeline.orchestration.lane_drain import DrainConfig, drain_lane
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site


class Successor:
    """Runs the lane to its end, once, from within an older run."""

    def __init__(self, site: Site, instance: dg.DagsterInstance, at: int) -> None:
        self.site, self.instance, self.at = site, instance, at
        self.done = False

    def __call__(self, runner: LaneRunner) -> None:
        if not self.done and runner.result.micro_batches == self.at:
            self.done = True
            materialize_lane(self.site.project, LANE, self.instance)


def test_an_older_run_hands_over(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """The older of two runs loses its next commit and ends cleanly; every change is counted once."""
    site = make_site(rows=400)
    older = materialize_lane(site.project, LANE, instance, watch=Successor(site, instance, at=1))
    assert older.micro_batches == 1
    whole = make_site()
    with dg.DagsterInstance.ephemeral(str(whole.folder)) as another:
        materialize_lane(whole.project, LANE, another)
    assert site.views() == whole.views()
    assert site.offsets()[0][4] == whole.offsets()[0][4]
    statuses = {record.dagster_run.status for record in instance.get_run_records()}
    assert statuses == {dg.DagsterRunStatus.SUCCESS}


def test_an_idle_older_run_leaves_the_copy_alone(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A run that lost its lane while nothing came does not write its old state over its successor's."""
    site = make_site()
    materialize_lane(site.project, LANE, instance)
    materialize_lane(site.project, LANE, instance, watch=Successor(site, instance, at=0))
    copy = OffsetCopies(instance).read(LANE)
    assert copy is not None
    assert copy.epoch == site.offsets()[0][5] == 3


def test_a_run_waits_for_what_comes(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """Until it was idle for its time a run loads what arrives meanwhile."""
    site = make_site(segments=[0])
    timer = threading.Timer(0.5, site.add, [1])
    timer.start()
    result = materialize_lane(site.project, LANE, instance, idle_seconds=2.0)
    timer.join()
    assert result.state is not None
    assert result.state.position.segment == site.recording.main.segments()[1].name


def test_a_run_ends_at_its_budget(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """When the time is up the run ends between two micro-batches, and says nothing about the log's end."""
    site = make_site(rows=200)
    runner = site.project.lane(LANE)
    copies = OffsetCopies(instance)
    config = DrainConfig(idle_seconds=0, budget_seconds=0.3)
    end = drain_lane(runner, copies, config, "r", watch=lambda _: time.sleep(0.2))
    assert (end.error, end.handed_over, 0 < runner.result.micro_batches < 4) == (None, False, True)
    assert copies.read_all([LANE])[LANE][1] is None


def test_a_vanished_directory_fails_after_the_lane_is_open(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """An error of the source comes back with the end, so that the run can report before it fails."""
    site = make_site()
    runner = site.project.lane(LANE)
    shutil.rmtree(site.raw)
    end = drain_lane(runner, OffsetCopies(instance), DrainConfig(), "r")
    assert "expected a readable directory" in str(end.error)
