"""A real TimescaleDB: the server that `CDC_TIMESCALEDB_DSN` names, else a container where Docker answers.

Without either, the tests in `server` are not collected, and the report's header says so.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

from cdc_pipeline.config import TimescaleSettings
from cdc_pipeline_tests.live.docker import docker_answers

IMAGE = "timescale/timescaledb:latest-pg17"
VARIABLES = ("CDC_TIMESCALEDB_DSN", "CDC_TIMESCALEDB_HOST")


@functools.cache
def source() -> str | None:
    """What gives the server, in words; None when there is none."""
    for name in VARIABLES:
        if os.environ.get(name):
            return name
    return f"container {IMAGE}" if docker_answers() else None


def header() -> str:
    """A line for the report."""
    return f"timescaledb: {source() or 'no server (CDC_TIMESCALEDB_DSN or Docker), its tests are not collected'}"


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """The connection string of a server where databases may be made and dropped."""
    if source() in VARIABLES:
        yield TimescaleSettings().conninfo()
        return
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer(IMAGE, driver=None) as container:
        yield container.get_connection_url()
