"""The CREATE of counter tables in logs that no lane has read yet: what `plan` and `check` have to know before a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import structlog

from cdc_pipeline.errors import CdcError
from cdc_pipeline.history.places import ShardSchema
from cdc_pipeline.schema import Table

log = structlog.get_logger()


def looked_up(tables: Iterable[Table], shards: Iterable[ShardSchema]) -> Iterator[Table]:
    """The tables whose CREATE one of these logs holds, with its place. A log that cannot be read tells nothing."""
    waiting = {table.id: table for table in tables}
    for shard in shards:
        if not waiting:
            return
        try:
            found = shard.end().tables
        except CdcError as error:
            log.warning("counter tables", message=str(error))
            continue
        for table_id in waiting.keys() & found.keys():
            since = found[table_id].complete_since
            if since is not None:
                yield dataclasses.replace(waiting.pop(table_id), complete_since=since)
