"""Asset keys, job names and tags: the one place that spells them."""

from __future__ import annotations

import re
import zlib

import dagster as dg

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.offsets import Lane

LANE_TAG = "cdc/lane"
"""Run tag of a drain, `destination/shard`; `dagster.yaml` lets one run per value go at a time."""

COMMITLOG = dg.AssetKey(["cdc", "commitlog"])
OFFSETS = dg.AssetKey(["cdc", "offsets"])
ARCHIVE = dg.AssetKey(["cdc", "archive"])
CASSANDRA = "cassandra"
PREPARE_JOB = "prepare_tables"
RELOAD_JOB = "segment_reload"
AUDIT_JOB = "audit"
PURGE_JOB = "purge_tombstones"

_GRACE_SECONDS = 600


def cassandra_key(table: str) -> dg.AssetKey:
    """`cassandra/<keyspace>/<table>` of `keyspace.table`."""
    return dg.AssetKey([CASSANDRA, *table.split(".", 1)])


def destination_key(destination: str, table: str) -> dg.AssetKey:
    """`<destination>/<keyspace>/<table>`."""
    return dg.AssetKey([destination, *table.split(".", 1)])


def dead_letter_key(destination: str) -> dg.AssetKey:
    """`dlq/<destination>`."""
    return dg.AssetKey(["dlq", destination])


def identifier(name: str) -> str:
    """A configured name as Dagster takes names of jobs, ops and groups; different ones stay different."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if plain == name else f"{plain}_{zlib.crc32(name.encode()):08x}"


def drain_name(destination: str) -> str:
    """The op that drains the lanes of a destination."""
    return f"drain_{identifier(destination)}"


def drain_job_name(destination: str) -> str:
    """The job of that op."""
    return f"drain_{identifier(destination)}_job"


def lane_tags(lane: Lane) -> dict[str, str]:
    """The run tag of a lane."""
    return {LANE_TAG: str(lane)}


def drain_tags(lane: Lane, budget_seconds: float) -> dict[str, str]:
    """All run tags of a drain: its lane, and after how many seconds run monitoring ends a run that hangs."""
    return {**lane_tags(lane), "dagster/max_runtime": str(int(budget_seconds) + _GRACE_SECONDS)}


def check_destination(name: str) -> None:
    """`ConfigurationError` for a name that would make a destination's assets those of the source."""
    if name == CASSANDRA:
        raise ConfigurationError(
            f"expected another name than {name}, which is the source's in Dagster", key=f"destinations.{name}"
        )
