"""Dead letters: stored with their micro-batch, each failure once; listed, counted."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterCount, DeadLetterEvent, FailureReason
from cdc_pipeline.load.clickhouse.connection import Connection

_TABLE = "if(table_name = '', NULL, concat(keyspace_name, '.', table_name))"
_COUNT = """
SELECT {name}, reason, count(), max(failed_at) FROM {table} FINAL
WHERE destination = {{destination:String}} AND status = 'parked' GROUP BY 1, 2 ORDER BY 1 NULLS LAST, 2
"""
_LIST = """
SELECT id, destination, partition_id, keyspace_name, table_name, reason, said, event, schema_details, commitlog_file,
  commitlog_position, failed_at, length(tries) AS loads
FROM (SELECT * FROM {table} FINAL)
WHERE destination = {{destination:String}} AND status = 'parked'
  AND ({{wanted:String}} = '' OR {name} = {{wanted:String}}) AND ({{why:String}} = '' OR reason = {{why:String}})
ORDER BY failed_at DESC, id LIMIT {{limit:UInt32}}
"""


def store(connection: Connection, table: str, letters: Sequence[DeadLetterEvent], load: str) -> None:
    """Stores letters; one that is there already counts another try, unless the same `load` brought it."""
    if not letters:
        return
    rows = [_row(letter, load) for letter in letters]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {name: pa.array(values, _ARROW.get(name)) for name, values in columns.items()}
    connection.insert(table, pa.table(arrays))


_ARROW = {
    "id": pa.binary(16),
    "failed_at": pa.timestamp("us", "UTC"),
    "commitlog_position": pa.uint64(),
    "said": pa.struct([("failed_at", pa.timestamp("us", "UTC")), ("message", pa.string())]),
    "tries": pa.list_(pa.string()),
}


def _row(letter: DeadLetterEvent, load: str) -> dict[str, Any]:
    return {
        "id": letter.id.bytes,
        "destination": letter.destination,
        "partition_id": letter.shard,
        "keyspace_name": _storable(letter.keyspace or ""),
        "table_name": _storable(letter.table or ""),
        "reason": str(letter.reason),
        "said": {"failed_at": letter.failed_at, "message": _storable(letter.message)},
        "failed_at": letter.failed_at,
        "event": json.dumps(letter.event),
        "schema_details": json.dumps(letter.schema_details),
        "commitlog_file": letter.position.segment,
        "commitlog_position": letter.position.offset,
        "tries": [load],
        "status": "parked",
    }


def _storable(text: str) -> str:
    """A text without halves of surrogate pairs, as the bytes of a damaged place may have."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def count(connection: Connection, table: str, destination: str) -> list[DeadLetterCount]:
    """What is parked, by table and reason."""
    found = connection.rows_if_there(_COUNT.format(table=table, name=_TABLE), {"destination": destination})
    return [DeadLetterCount(name, reason, letters, _utc(newest)) for name, reason, letters, newest in found]


def listing(
    connection: Connection, table: str, destination: str, name: str | None, reason: str | None, limit: int
) -> list[DeadLetterEvent]:
    """What is parked, the newest first, of one table or reason when asked."""
    asked = {"destination": destination, "wanted": name or "", "why": reason or "", "limit": limit}
    return [_letter(*row) for row in connection.rows_if_there(_LIST.format(table=table, name=_TABLE), asked)]


def _letter(*row: Any) -> DeadLetterEvent:
    identity, destination, shard, keyspace, table, reason, said, event, details, file, offset, failed_at, loads = row
    message = said["message"] if isinstance(said, Mapping) else said[1]
    return DeadLetterEvent(
        id=identity,
        destination=destination,
        shard=shard,
        keyspace=keyspace or None,
        table=table or None,
        reason=FailureReason(reason),
        message=message,
        event=json.loads(event),
        schema_details=json.loads(details),
        position=Position(file, offset),
        failed_at=_utc(failed_at),
        retry_count=loads - 1,
    )


def _utc(at: dt.datetime) -> dt.datetime:
    return at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at
