"""Dagster, and only here: declares, names, runs and reports; the library does the work and returns typed results.

    definitions     everything put together: `build_definitions`, `load_definitions`
    catalog         what is known without a connection: shards, tables, their plans per destination
    names, columns  asset keys, job names and tags; column schemas and lineage
    drain           an asset per destination table; one run drains one lane (`lane_drain`) and reports (`reports`)
    reload          the job that loads segments again: plan, parse, mask, load
    prepare         the job that makes or migrates tables
    offset_copy     the copy of the offsets in Dagster's run storage; `audit` compares it with the destinations
    offsets, dead_letters, checks      assets and checks that only look
    commit_log_sensor, schema_sensor, failure_sensor
    lane_run        one lane through these definitions, inside this process

No value of a row reaches Dagster: not as metadata, not in a log line, not in an IO manager's file.
"""

from cdc_pipeline.orchestration.definitions import build_definitions, load_definitions
from cdc_pipeline.orchestration.lane_run import materialize_lane
from cdc_pipeline.orchestration.offset_copy import OffsetCopies
from cdc_pipeline.orchestration.options import Options

__all__ = ["OffsetCopies", "Options", "build_definitions", "load_definitions", "materialize_lane"]
