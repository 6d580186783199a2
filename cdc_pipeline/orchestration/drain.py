"""A destination's tables as one asset definition; a run of it drains one lane."""

# no postponed annotations: Dagster looks at the class that annotates `context`
from collections.abc import Iterator
from typing import Any

import dagster as dg

from cdc_pipeline.load import Sink
from cdc_pipeline.observability.logging import lane_context
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.catalog import Catalog
from cdc_pipeline.orchestration.columns import destination_metadata
from cdc_pipeline.orchestration.failures import clean_failures, failure_of
from cdc_pipeline.orchestration.lane_drain import DrainConfig, DrainEnd, Watch, drain_lane
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.orchestration.options import Options
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.reports import dead_letter_report, table_report
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.results import LaneResult

_DESCRIPTION = """Drains a lane: everything durable in the shard's log beyond the lane's offset is decoded, masked and
merged, micro-batch by micro-batch, until nothing comes for a while or the time is up.

The offset is the lane's, not a table's: a run over some of the tables loads all of them and reports all of them."""


def drain_assets(catalog: Catalog, destination: str, options: Options, projects: Projects, watch: Watch) -> Any:
    """The assets of a destination's tables."""
    shards = catalog.shards

    @dg.multi_asset(
        name=names.drain_name(destination),
        specs=table_specs(catalog, destination, options),
        partitions_def=shards,
        can_subset=True,
        config_schema=config_schema(options),
        description=_DESCRIPTION,
        op_tags={"cdc/destination": names.identifier(destination)},
    )
    def drain(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        lane = Lane(destination, context.partition_key)
        config = DrainConfig(**context.op_execution_context.op_config)
        tags = names.drain_tags(
            lane, config.budget_seconds
        )  # the job's runs have them; one from the asset page has not
        context.instance.add_run_tags(context.run.run_id, tags)
        with clean_failures(), projects.open() as project:
            runner = project.lane(lane)
            end = _drained(context, runner, config, watch)
            yield from _reported(context, runner, end)
            if end.error is not None:
                raise failure_of(end.error)

    return drain


def drain_job(destination: str, assets: Any, catalog: Catalog, options: Options) -> Any:
    """The job that the sensor asks for, tagged with its lane."""
    shards = catalog.shards
    tags = dg.PartitionedConfig(
        shards,
        run_config_for_partition_key_fn=lambda _: {},
        tags_for_partition_key_fn=lambda shard: names.drain_tags(Lane(destination, shard), options.budget_seconds),
    )
    return dg.define_asset_job(
        names.drain_job_name(destination),
        selection=dg.AssetSelection.assets(assets),
        config=tags,
        description=_DESCRIPTION,
    )


def table_specs(catalog: Catalog, destination: str, options: Options) -> list[dg.AssetSpec]:
    """One asset per loaded table, behind its Cassandra table and the log."""
    kind = catalog.settings.destinations[destination].kind
    return [
        dg.AssetSpec(
            names.destination_key(destination, summary.table),
            deps=[names.cassandra_key(summary.table), names.COMMITLOG],
            description=f"`{summary.target}`: {summary.table} as Cassandra would answer, masked."
            + "".join(f"\n\n{warning}" for warning in summary.warnings),
            metadata=destination_metadata(summary),
            skippable=True,
            group_name=names.identifier(destination),
            owners=options.owners,
            tags={"cdc/destination": names.identifier(destination)},
            kinds={kind},
        )
        for summary in catalog.plans[destination]
    ]


def config_schema(options: Options) -> dict[str, dg.Field]:
    """The config of a drain run, with the options as defaults."""
    return {
        "idle_seconds": dg.Field(
            float, default_value=options.idle_seconds, description="End when nothing came for so long."
        ),
        "budget_seconds": dg.Field(
            float, default_value=options.budget_seconds, description="End after so long; another run goes on."
        ),
        "accept_destination": dg.Field(
            bool,
            default_value=False,
            description="The destination is behind the copy of its offset because it was restored or wiped, and is to "
            "be loaded again from where it stands: drop the copy.",
        ),
    }


def _drained(context: dg.AssetExecutionContext, runner: LaneRunner, config: DrainConfig, watch: Watch) -> DrainEnd:
    run_id = context.run.run_id
    with lane_context(runner.lane.destination, runner.lane.shard, run_id):
        end = drain_lane(runner, OffsetCopies(context.instance), config, run_id, watch)
    if end.handed_over:
        context.log.info(f"lane {runner.lane}: another run took it over; this one ends")
    for problem in runner.result.problems:
        context.log.warning(problem)
    return end


def _reported(
    context: dg.AssetExecutionContext, runner: LaneRunner, end: DrainEnd
) -> Iterator[dg.MaterializeResult[Any]]:
    """One materialization per touched table; of tables outside of this run's selection as plain events."""
    for table in sorted(runner.result.changes):
        key = names.destination_key(runner.lane.destination, table)
        metadata = table_report(table, runner.sink, runner.result, end)
        if key in context.selected_asset_keys:
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
        else:
            context.log_event(dg.AssetMaterialization(key, metadata=metadata, partition=runner.lane.shard))
    if _parked(runner.result) and end.error is None:
        report_dead_letters(context, runner.sink)


def _parked(result: LaneResult) -> bool:
    return bool(result.parked)


def report_dead_letters(context: dg.AssetExecutionContext, sink: Sink) -> None:
    """The dead letters of a destination, as an event of their own asset."""
    report = dead_letter_report(sink.dead_letter_counts())
    context.log_event(dg.AssetMaterialization(names.dead_letter_key(sink.name), metadata=report))
