"""Watches the schema's source: says which tables and columns changed, and asks for the tables to be prepared."""

# no postponed annotations: Dagster looks at the class that annotates `context`
import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from cdc_pipeline.config import ClusterSchema
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.catalog import refresh_snapshot
from cdc_pipeline.orchestration.columns import source_columns
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.schema.changes import SchemaChanges, compare, shapes_of
from cdc_pipeline.transform import TableMasks

_FILE_SECONDS, _CLUSTER_SECONDS = 5, 30


def schema_sensor(projects: Projects, job: Any) -> Any:
    """The cursor holds the shapes of the selected tables as they were; the first tick only observes them.

    A table that came shows as an asset once the code location is reloaded; it is loaded without that.
    """
    is_cluster = isinstance(projects.settings.source.schema_source, ClusterSchema)

    @dg.sensor(
        name="schema",
        job=job,
        minimum_interval_seconds=_CLUSTER_SECONDS if is_cluster else _FILE_SECONDS,
        description="Observes Cassandra's tables, and prepares the destinations when one changed.",
    )
    def schema(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with projects.open() as project:
            refresh_snapshot(project)
            masks = dict(project.selected)
        shapes = shapes_of(one.table for one in masks.values())
        before = json.loads(context.cursor) if context.cursor else None
        changes = compare(before or {}, shapes)
        if before is not None and not changes:
            return dg.SensorResult(skip_reason="the schema is as it was", cursor=context.cursor)
        return dg.SensorResult(
            asset_events=list(observations(changes, masks, first=before is None)),
            run_requests=[dg.RunRequest()] if before is not None else [],
            cursor=json.dumps(shapes, separators=(",", ":")),
        )

    return schema


def observations(
    changes: SchemaChanges, masks: Mapping[str, TableMasks], *, first: bool
) -> Iterator[dg.AssetObservation]:
    """One per table that came, went or changed: what happened, and its columns as they are now."""
    said = {
        **dict.fromkeys(changes.added, "seen for the first time" if first else "table added"),
        **dict.fromkeys(changes.dropped, "table dropped, or taken out of the selection"),
        **{name: f"columns: {what}" for name, what in changes.altered.items()},
    }
    for name, what in sorted(said.items()):
        metadata: dict[str, Any] = {"change": what}
        if name in masks:
            metadata["dagster/column_schema"] = source_columns(masks[name])
        yield dg.AssetObservation(names.cassandra_key(name), metadata=metadata)
