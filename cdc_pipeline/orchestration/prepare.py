"""The job that makes or migrates what the tables need in every destination; no data moves."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from typing import Any

import dagster as dg

from cdc_pipeline.errors import CdcError
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.project import Project
from cdc_pipeline.retry import Retry


def prepare_job(projects: Projects) -> Any:
    """Asked for by the schema sensor; a drain prepares its own destination too."""

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="New tables are made, columns that came are added. A destination that is down stops no other.",
    )
    def prepare(context: dg.OpExecutionContext) -> None:
        failed = []
        with clean_failures(), projects.open() as project:
            for destination in project.destinations():
                try:
                    count = _prepared(project, destination)
                    context.log.info(f"destination {destination}: {count} tables are ready")
                except CdcError as error:
                    failed.append(str(error))
            if failed:
                raise CdcError("; ".join(failed))

    @dg.job(name=names.PREPARE_JOB, executor_def=dg.in_process_executor)
    def job() -> None:
        prepare()

    return job


def _prepared(project: Project, destination: str) -> int:
    sink = project.sink(destination)
    tables = [(masks.table, masks) for masks in project.loaded(sink).values()]
    retry = project.settings.retry
    Retry(retry.attempts, retry.wait, retry.max_wait).call(lambda: sink.prepare(tables))
    return len(tables)
