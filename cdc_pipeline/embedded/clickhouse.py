"""An embedded ClickHouse: chDB behind a small HTTP front, one per folder, gone with the last who uses it."""

from __future__ import annotations

import http.client
import importlib.util
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from cdc_pipeline.embedded.server import EmbeddedServer
from cdc_pipeline.embedded.supervisor.front.job import Job
from cdc_pipeline.errors import ConfigurationError


def packages() -> Path:
    """The folder that holds chDB's package.

    Raises `ConfigurationError` when the package `chdb-core-lite` is not installed.
    """
    spec = importlib.util.find_spec("chdb")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "an embedded ClickHouse needs the package chdb-core-lite (extra `embedded`), found none installed"
        )
    return Path(spec.origin).parent.parent


class EmbeddedClickHouse(EmbeddedServer):
    """One user of the ClickHouse in a folder: see `EmbeddedServer`."""

    TITLE: ClassVar[str] = "ClickHouse"
    SUPERVISOR: ClassVar[str] = "clickhouse"
    host: ClassVar[str] = "127.0.0.1"
    username: ClassVar[str] = "default"

    @property
    def port(self) -> int:
        """The port of its HTTP interface."""
        return self._address("port")[0]

    @property
    def password(self) -> str:
        """The password of its one user; not for printing."""
        return self._address("password")[1]

    def url(self) -> str:
        """Its HTTP address with user and password, so it is not for printing."""
        port, password = self._address("url")
        return f"http://{self.username}:{quote(password, safe='')}@{self.host}:{port}"

    def _answers(self, port: int) -> bool:
        with closing(http.client.HTTPConnection(self.host, port, timeout=2)) as connection:
            try:
                connection.request("GET", "/ping")
                return connection.getresponse().status == 200
            except http.client.HTTPException:
                return False

    def _job(self) -> dict[str, Any]:
        return asdict(Job(str(self._folder.root), str(packages()), self._fast, self._timeout))
