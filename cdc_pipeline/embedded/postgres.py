"""An embedded PostgreSQL: real, one per folder, shared by every process that needs it, gone with the last of them."""

from __future__ import annotations

from typing import Any, ClassVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from cdc_pipeline.embedded.binaries import binaries
from cdc_pipeline.embedded.identity import can_reach, server_identity
from cdc_pipeline.embedded.server import EmbeddedServer
from cdc_pipeline.embedded.supervisor.folder import Job


class EmbeddedPostgres(EmbeddedServer):
    """One user of the PostgreSQL in a folder: see `EmbeddedServer`."""

    TITLE: ClassVar[str] = "PostgreSQL"
    SUPERVISOR: ClassVar[str] = "postgres"

    def conninfo(self, dbname: str = "postgres") -> str:
        """libpq's connection string of the superuser; holds the password, so it is not for printing."""
        port, password = self._address("conninfo")
        return make_conninfo(
            host="127.0.0.1", port=port, user="postgres", password=password, dbname=dbname, connect_timeout=10
        )

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database when missing, and return its connection string."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if known is None:
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.conninfo(name)

    def _answers(self, port: int) -> bool:
        address = make_conninfo(host="127.0.0.1", port=port, connect_timeout=2)
        return PGconn.ping(address.encode()) == Ping.OK

    def _job(self) -> dict[str, Any]:
        programs = binaries()
        identity = server_identity(self._folder.data)
        places = (self._folder.root, programs, programs.parent / "lib")
        reach = identity is not None and not all(can_reach(place, identity) for place in places)
        return vars(Job(str(self._folder.root), str(programs), self._fast, self._timeout, identity, reach))
