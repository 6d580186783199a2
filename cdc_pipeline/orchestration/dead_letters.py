"""`dlq/<destination>`: what is parked there, by table and reason."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from typing import Any

import dagster as dg

from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.reports import dead_letter_report


def dead_letter_asset(destination: str, kind: str, projects: Projects, options: Options) -> Any:
    """The asset that reports a destination's dead letters; drains report it too when they parked something."""

    @dg.asset(
        key=names.dead_letter_key(destination),
        group_name=names.identifier(destination),
        owners=options.owners,
        kinds={kind},
        description="Changes that could not be masked, typed or loaded; the others went on. Counts only.",
    )
    def dead_letters(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        with clean_failures(), projects.open() as project:
            counts = project.sink(destination).dead_letter_counts()
        return dg.MaterializeResult(metadata=dead_letter_report(counts))

    return dead_letters
