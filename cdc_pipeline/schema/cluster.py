"""The schema of a live cluster, read-only, through cassandra-driver: rows of `system_schema` as plain JSON values.

Cassandra makes the JSON: a column that it dropped itself is dated in the year 294247, beyond Python's dates.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from cdc_pipeline.errors import CdcError
from cdc_pipeline.schema.snapshot import Schema, schema_of

_TABLES = ("keyspaces", "tables", "columns", "types", "dropped_columns", "views")
_TIMEOUT_SECONDS = 10.0


def read_cluster(
    contact_points: Sequence[str], port: int = 9042, username: str | None = None, password: str | None = None
) -> Schema:
    """The tables of a cluster; `CdcError` when it cannot be asked."""
    return schema_of(read_rows(contact_points, port, username, password), where=f"cluster {contact_points[0]}")


def read_rows(
    contact_points: Sequence[str], port: int = 9042, username: str | None = None, password: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The rows of `system_schema` as `schema.json` holds them."""
    with _session(contact_points, port, username, password) as session:
        return {
            name: [json.loads(row[0]) for row in session.execute(f"SELECT JSON * FROM system_schema.{name}")]
            for name in _TABLES
        }


@contextlib.contextmanager
def _session(contact_points: Sequence[str], port: int, username: str | None, password: str | None) -> Iterator[Any]:
    from cassandra.auth import PlainTextAuthProvider  # type: ignore[import-untyped]
    from cassandra.cluster import Cluster, NoHostAvailable  # type: ignore[import-untyped]

    auth = PlainTextAuthProvider(username, password or "") if username else None
    cluster = Cluster(
        list(contact_points),
        port=port,
        auth_provider=auth,
        connect_timeout=_TIMEOUT_SECONDS,
        schema_metadata_enabled=False,
    )
    try:
        yield cluster.connect()
    except NoHostAvailable:
        hosts = ", ".join(f"{host}:{port}" for host in contact_points)
        raise CdcError(f"cluster {hosts}: expected a node that answers, found none") from None
    finally:
        cluster.shutdown()
