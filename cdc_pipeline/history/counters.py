"""Where the logs at hand hold the CREATE of counter tables: what `plan` and `check` have to know before a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

import structlog

from cdc_pipeline.errors import CdcError
from cdc_pipeline.history.places import ShardSchema
from cdc_pipeline.schema import Table

log = structlog.get_logger()

Places = Mapping[str, str | None]
"""A shard's name to the place of a table's CREATE in its log; None where it is not known."""


def places_of(tables: Iterable[Table], shards: Mapping[str, ShardSchema]) -> dict[uuid.UUID, Places]:
    """The places of each of these tables, by its id. A log that cannot be read tells nothing."""
    found: dict[uuid.UUID, dict[str, str | None]] = {table.id: {} for table in tables}
    for name, shard in shards.items():
        try:
            known = shard.end().tables
        except CdcError as error:
            log.warning("counter tables", shard=name, message=str(error))
            known = {}
        for table_id, places in found.items():
            places[name] = known[table_id].complete_since if table_id in known else None
    return dict(found)
