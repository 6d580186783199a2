"""Says on stderr, as a JSON line for whoever collects logs, that a run failed."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from typing import Any

import dagster as dg
import structlog

from cdc_pipeline.orchestration.names import LANE_TAG

log = structlog.get_logger()


def failure_sensor() -> Any:
    """One line per failed run: job, lane, run and the sentence of its failure. An alert hooks in here."""

    @dg.run_failure_sensor(name="run_failure", description="Logs each failed run with its lane and its reason.")
    def run_failure(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        log.error(
            "run failed", job=run.job_name, lane=run.tags.get(LANE_TAG), run_id=run.run_id, reason=reason_of(context)
        )

    return run_failure


def reason_of(context: dg.RunFailureSensorContext) -> str:
    """What the step that failed said; else the run's own words."""
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return str(data.user_failure_data.description)
    return str(context.failure_event.message)
