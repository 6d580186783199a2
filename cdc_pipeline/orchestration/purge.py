"""The job that takes away what nobody can see any more, and its schedule, which is off until somebody turns it on."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from typing import Any

import dagster as dg

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.projects import Projects


def purge_job(projects: Projects) -> Any:
    """One pass over every table of every destination, beside running drains."""

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="Rows, elements and ranges that have been dead for tombstone_retention go. Down: the others go on.",
    )
    def purge(context: dg.OpExecutionContext) -> None:
        failed = []
        with clean_failures(), projects.open() as project:
            for destination in project.destinations():
                try:
                    for done in project.purge(destination):
                        context.log.info(
                            f"destination {destination}: {done.table}: {done.rows} rows and {done.ranges} ranges "
                            f"removed, {done.stripped} rows trimmed, {done.noted} noted"
                        )
                except CdcError as error:
                    failed.append(str(error))
            if failed:
                raise CdcError("; ".join(failed))

    @dg.job(name=names.PURGE_JOB, executor_def=dg.in_process_executor)
    def job() -> None:
        purge()

    return job


def purge_schedule(job: Any) -> dg.ScheduleDefinition:
    """Daily, at night."""
    return dg.ScheduleDefinition(
        name="purge_schedule",
        job=job,
        cron_schedule="17 3 * * *",
        description="Removes what has been deleted or expired for tombstone_retention. Off by default.",
    )
