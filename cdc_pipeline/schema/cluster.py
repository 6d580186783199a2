"""The schema of a live cluster, read-only, through cassandra-driver: rows of `system_schema` as plain JSON values."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
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
            name: [_plain(row._asdict()) for row in session.execute(f"SELECT * FROM system_schema.{name}")]
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


def _plain(value: Any) -> Any:
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "SortedSet":
        return [_plain(item) for item in value]
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ", timespec="milliseconds") + "Z"
    if isinstance(value, bytes):
        return value.hex()
    return value
