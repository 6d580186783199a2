"""Dead letters in `cdc.dead_letters`: stored in the transaction of the rows, the same failure only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from cdc_pipeline.dlq import DeadLetterEvent

_STORE = """
INSERT INTO cdc.dead_letters AS d (id, destination, partition_id, keyspace_name, table_name, reason, message, event,
  schema_details, commitlog_file, commitlog_position, failed_at, retry_count)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET retry_count = d.retry_count + 1, message = excluded.message
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
            letter.keyspace,
            letter.table,
            str(letter.reason),
            letter.message,
            Jsonb(dict(letter.event)),
            Jsonb(dict(letter.schema_details)),
            letter.position.segment,
            letter.position.offset,
            letter.failed_at,
            letter.retry_count,
        )
        for letter in letters
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_STORE, rows)
