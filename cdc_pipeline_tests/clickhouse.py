"""The ClickHouse of the tests: embedded, in a container, or one that is given; and a place of its own in it.

`CDC_TEST_ENGINES` says which: `embedded`, `containers` (which fails where no Docker answers), or `auto`, the default: a
container where Docker answers, else embedded. `CDC_CLICKHOUSE_TEST_URL` (`http://user:password@host:port`) goes before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from cdc_pipeline.embedded.clickhouse import EmbeddedClickHouse
from cdc_pipeline_tests.live.docker import docker_answers

IMAGE = "clickhouse/clickhouse-server:26.5"
URL = "CDC_CLICKHOUSE_TEST_URL"
ENGINES = "CDC_TEST_ENGINES"


@dataclass(frozen=True)
class ChDatabase:
    """A place of its own: databases whose names begin with `prefix` are this test's alone."""

    host: str
    port: int
    username: str
    password: str
    prefix: str

    def client(self, **options: Any) -> Client:
        """A new client, which the caller closes; without compression, which costs more than it saves on loopback."""
        return clickhouse_connect.get_client(
            host=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            **{"compress": False, **options},
        )

    def databases(self) -> list[str]:
        """The databases of this place."""
        with contextlib.closing(self.client()) as client:
            query = "SELECT name FROM system.databases WHERE startsWith(name, {prefix:String}) ORDER BY name"
            return [str(name) for (name,) in client.query(query, parameters={"prefix": self.prefix}).result_rows]

    def drop(self) -> None:
        """Drop the databases of this place."""
        names = self.databases()
        with contextlib.closing(self.client()) as client:
            for name in names:
                client.command(f"DROP DATABASE `{name}` SYNC")


class ChServer:
    """A running server; `embedded` is None where it is a real one."""

    def __init__(self, place: ChDatabase, embedded: EmbeddedClickHouse | None = None) -> None:
        self._place = place
        self.embedded = embedded

    def place(self) -> ChDatabase:
        """A new place. An embedded server that a test has killed is started again."""
        unique = replace(self._place, prefix=f"t{uuid.uuid4().hex[:12]}_")
        return replace(unique, port=self.embedded.start().port) if self.embedded else unique


@functools.cache
def source() -> str:
    """What gives the server, in words; fails for a wish that cannot be had."""
    wish = os.environ.get(ENGINES, "auto")
    if os.environ.get(URL):
        return URL
    if wish not in ("auto", "embedded", "containers"):
        raise pytest.UsageError(f"{ENGINES}: expected auto, embedded or containers, found {wish}")
    docker = wish != "embedded" and docker_answers()
    if wish == "containers" and not docker:
        raise pytest.UsageError(f"{ENGINES}=containers: expected a Docker engine that answers, found none")
    if docker:
        return f"container {IMAGE}"
    return f"embedded, chdb-core-lite {importlib.metadata.version('chdb-core-lite')} behind the HTTP front"


def header() -> str:
    """A line for the report."""
    return f"clickhouse: {source()}"


@contextlib.contextmanager
def running_server() -> Iterator[ChServer]:
    """The server, as long as it is needed."""
    found = source()
    if found == URL:
        parts = urlsplit(os.environ[URL])
        user, password = unquote(parts.username or "default"), unquote(parts.password or "")
        yield ChServer(ChDatabase(parts.hostname or "127.0.0.1", parts.port or 8123, user, password, ""))
    elif found.startswith("container"):
        with _container() as place:
            yield ChServer(place)
    else:
        directory = Path(tempfile.mkdtemp(prefix="cdc-tests-clickhouse-"))
        try:
            with EmbeddedClickHouse(directory, fast=True) as server:
                yield ChServer(ChDatabase(server.host, server.port, server.username, server.password, ""), server)
        finally:
            shutil.rmtree(directory)


@contextlib.contextmanager
def _container() -> Iterator[ChDatabase]:
    from testcontainers.community.clickhouse import ClickHouseContainer

    with ClickHouseContainer(IMAGE, port=8123) as container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(8123))
        yield ChDatabase(host, port, container.username, container.password, "")
