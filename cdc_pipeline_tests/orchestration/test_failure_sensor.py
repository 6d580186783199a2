from __future__ import annotations

import dagster as dg
from structlog.testing import capture_logs

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration.failure_sensor import failure_sensor
from cdc_pipeline.orchestration.failures import clean_failures


def test_a_failed_run_is_one_line(instance: dg.DagsterInstance) -> None:
    """The line names job, lane and run, and says what the step said."""

    @dg.op
    def fails() -> None:
        with clean_failures():
            raise CdcError("lane warehouse/node1: what was expected and what was found")

    @dg.job(name="drain_x_job")
    def job() -> None:
        fails()

    result = job.execute_in_process(instance=instance, raise_on_error=False, tags={"cdc/lane": "warehouse/node1"})
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()
    with capture_logs() as lines:
        failure_sensor()(context)
    assert lines == [
        {
            "event": "run failed",
            "log_level": "error",
            "job": "drain_x_job",
            "lane": "warehouse/node1",
            "run_id": result.run_id,
            "reason": "lane warehouse/node1: what was expected and what was found",
        }
    ]
