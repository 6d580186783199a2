"""The job that loads segments again: plan, parse, mask, load; a dynamic output per segment, a partition per shard.

It runs on the stages of the drain (`LaneRunner.reading`, `prepared`, `reload`), takes no lane and leaves the offsets
alone; where nothing is missing it changes nothing. Raw values stay inside one op: `parse` hands on counts, `mask` the
masked batches of one segment, in memory (`hand_over.py`). Priorities finish a segment before the next is begun.
"""

# no postponed annotations: Dagster looks at the class that annotates `context`
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg

from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.catalog import Catalog
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline.orchestration.hand_over import hand_over
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.orchestration.segment_task import Masked, Parsed, ReloadLanes, SegmentTask

_IN_MEMORY = "hand_over"


def reload_job(catalog: Catalog, projects: Projects) -> Any:
    """The job; its configuration says which destination, segments (in that order; none = all) and tables."""

    @dg.resource(description="The lanes that segments are loaded into, each opened once per run.")
    def lanes(_: dg.InitResourceContext) -> Iterator[ReloadLanes]:
        with projects.open() as project:
            yield ReloadLanes(project)

    plan = plan_op(next(iter(catalog.plans)))

    @dg.job(
        name=names.RELOAD_JOB,
        partitions_def=catalog.shards,
        resource_defs={"lanes": lanes, "hand_over": hand_over},
        executor_def=dg.in_process_executor,
        description=__doc__,
    )
    def job() -> None:
        plan().map(lambda task: load(mask(parse(task))))

    return job


def plan_op(default_destination: str) -> Any:
    """The op `plan`."""

    @dg.op(
        out=dg.DynamicOut(SegmentTask, io_manager_key=_IN_MEMORY),
        required_resource_keys={"lanes"},
        config_schema={
            "destination": dg.Field(str, default_value=default_destination, description="Where to."),
            "segments": dg.Field([str], default_value=[], description="File names, loaded in this order; none = all."),
            "tables": dg.Field([str], default_value=[], description="keyspace.table, and no other; none = all."),
        },
        description="Chooses the segments of the shard.",
    )
    def plan(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[SegmentTask]]:
        config = context.op_config
        lane = Lane(config["destination"], context.partition_key)
        with clean_failures():
            tasks = list(context.resources.lanes.tasks(lane, config["segments"], config["tables"]))
        for task in tasks:
            yield dg.DynamicOutput(task, mapping_key=re.sub(r"\W", "_", task.segment))

    return plan


@dg.op(
    out=dg.Out(Parsed, io_manager_key=_IN_MEMORY),
    required_resource_keys={"lanes"},
    tags={"dagster/priority": "1"},
    description="Decodes a segment and counts what it holds; no value leaves this op.",
)
def parse(context: dg.OpExecutionContext, task: SegmentTask) -> Parsed:
    """The op `parse`."""
    with clean_failures():
        parsed: Parsed = context.resources.lanes.parse(task)
    changes = dict(sorted(parsed.changes.items()))
    context.add_output_metadata(
        {"segment": task.segment, "mutations": parsed.mutations, "damaged": parsed.damaged, "changes": changes}
    )
    return parsed


@dg.op(
    out=dg.Out(Masked, io_manager_key=_IN_MEMORY),
    required_resource_keys={"lanes"},
    tags={"dagster/priority": "2"},
    description="Compacts, masks and types the segment's changes.",
)
def mask(context: dg.OpExecutionContext, parsed: Parsed) -> Masked:
    """The op `mask`."""
    with clean_failures():
        masked: Masked = context.resources.lanes.mask(parsed)
    context.add_output_metadata(
        {
            "segment": parsed.task.segment,
            "masked_values": sum(c.masked for b in masked.batches for c in b.masking.columns.values()),
            "parked": sum(len(batch.letters) for batch in masked.batches),
        }
    )
    return masked


@dg.op(
    out=dg.Out(dg.Nothing),
    required_resource_keys={"lanes"},
    tags={"dagster/priority": "3"},
    description="Merges the changes into the destination, a transaction per micro-batch; offsets stay as they are.",
)
def load(context: dg.OpExecutionContext, masked: Masked) -> None:
    """The op `load`."""
    with clean_failures():
        context.resources.lanes.load(masked)
    changes = sum(batch.events for batch in masked.batches)
    context.log.info(f"segment {masked.task.segment}: {changes} changes in {len(masked.batches)} micro-batches")
