"""Dead letters in `cdc.dead_letters`: stored in the transaction of the rows, each failure once; listed, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterCount, DeadLetterEvent, FailureReason

_STORE = """
INSERT INTO cdc.dead_letters AS d (id, destination, partition_id, keyspace_name, table_name, reason, message, event,
  schema_details, commitlog_file, commitlog_position, failed_at, retry_count)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET retry_count = d.retry_count + 1, message = excluded.message
"""
_TABLE = "keyspace_name || '.' || table_name"
_COUNT = f"""
SELECT {_TABLE}, reason, count(*), max(failed_at) FROM cdc.dead_letters
WHERE destination = %s AND status = 'parked' GROUP BY 1, 2 ORDER BY 1 NULLS LAST, 2
"""
_LIST = f"""
SELECT id, destination, partition_id, keyspace_name, table_name, reason, message, event, schema_details,
  commitlog_file, commitlog_position, failed_at, retry_count
FROM cdc.dead_letters
WHERE destination = %(destination)s AND status = 'parked'
  AND (%(table)s::text IS NULL OR {_TABLE} = %(table)s) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY failed_at DESC, id LIMIT %(limit)s
"""


def store(connection: psycopg.Connection[Any], letters: Sequence[DeadLetterEvent]) -> None:
    """Stores letters; one that is there already counts another try."""
    if not letters:
        return
    rows = [
        (
            letter.id,
            letter.destination,
            letter.shard,
            storable(letter.keyspace),
            storable(letter.table),
            str(letter.reason),
            storable(letter.message),
            Jsonb(storable(letter.event)),
            Jsonb(storable(letter.schema_details)),
            letter.position.segment,
            letter.position.offset,
            letter.failed_at,
            letter.retry_count,
        )
        for letter in letters
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_STORE, rows)


def storable(value: Any) -> Any:
    """Texts, in whatever they lie, without what neither text nor jsonb can hold: U+0000 and halves of surrogate pairs,
    as the bytes of a damaged place may have. A replacement character stands for each."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {storable(name): storable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value


def count(connection: psycopg.Connection[Any], destination: str) -> list[DeadLetterCount]:
    """What is parked, by table and reason; nothing where the store was not made yet."""
    if not _is_there(connection):
        return []
    return [DeadLetterCount(*row) for row in connection.execute(_COUNT, (destination,)).fetchall()]


def listing(
    connection: psycopg.Connection[Any], destination: str, table: str | None, reason: str | None, limit: int
) -> list[DeadLetterEvent]:
    """What is parked, the newest first, of one table or reason when asked."""
    if not _is_there(connection):
        return []
    asked = {"destination": destination, "table": table, "reason": reason, "limit": limit}
    return [_letter(*row) for row in connection.execute(_LIST, asked).fetchall()]


def _is_there(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute("SELECT to_regclass('cdc.dead_letters')").fetchone() != (None,)


def _letter(*row: Any) -> DeadLetterEvent:
    identity, destination, shard, keyspace, table, reason, message, event, details, file, offset, failed_at, tries = row
    return DeadLetterEvent(
        id=identity,
        destination=destination,
        shard=shard,
        keyspace=keyspace,
        table=table,
        reason=FailureReason(reason),
        message=message,
        event=event,
        schema_details=details,
        position=Position(file, offset),
        failed_at=failed_at,
        retry_count=tries,
    )
