from __future__ import annotations

import dagster as dg
import psycopg

from cdc_pipeline.config import load_config
from cdc_pipeline.orchestration import build_definitions, materialize_lane
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite


def test_the_job_passes_over_every_table(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """What is dead in a destination is noted; nothing that shows changes, and the schedule is off until turned on."""
    site = make_site()
    materialize_lane(site.project, LANE, instance)
    before = site.views()
    definitions = build_definitions(load_config(site.config))
    assert definitions.resolve_job_def("purge_tombstones").execute_in_process(instance=instance).success
    assert site.views() == before
    with psycopg.connect(site.dsn) as connection:
        noted = connection.execute('SELECT count("r:seen") FROM cdc."ecommerce.sessions"').fetchone()
    assert noted is not None
    assert noted[0] > 0
    (schedule,) = [one for one in definitions.schedules or () if one.name == "purge_schedule"]
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
