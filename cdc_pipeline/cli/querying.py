"""Queries on destinations, read-only: the values as the server writes them, never through Python's types."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Protocol

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from cdc_pipeline.config import ClickHouseDestination
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.load.clickhouse import errors as clickhouse
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.parity import as_of_setting
from cdc_pipeline.load.postgres.errors import translated
from cdc_pipeline.project import Project

_ESCAPED = {b"b": b"\b", b"f": b"\f", b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}

_SAID = re.compile(r"DB::Exception: (.*?)(?: \(version .*| \(for url .*)?$", re.DOTALL)
"""What the server says of a query, which is the user's own."""

_NOT_LET_IN = (192, 193, 194, 195, 516)

Rows = list[list[str | None]]


class Querying(Protocol):
    """A connection for queries; `CdcError` with what the server said of one that it refuses."""

    def table(self, query: str) -> tuple[list[str], Rows]:
        """The columns' names, and the rows as texts."""
        ...

    def json(self, query: str) -> Iterator[bytes]:
        """A JSON object for each row, without a line's end."""
        ...


@contextlib.contextmanager
def querying(project: Project, destination: str, as_of: str | None) -> Iterator[Querying]:
    """Connects to a destination, whose views answer as of an instant."""
    if isinstance(project.settings.destinations[destination], ClickHouseDestination):
        yield _ClickHouse(destination, project.address(destination), as_of)
        return
    with translated(destination, "connecting"):
        connection = psycopg.connect(project.conninfo(destination), autocommit=True)
    with connection:
        yield _Postgres(connection, as_of)


def _no_instant(found: str) -> ConfigurationError:
    return ConfigurationError(f"expected an instant as 2026-01-31T12:00:00Z, found {found}", key="--as-of")


class _Postgres:
    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], as_of: str | None) -> None:
        self._connection = connection
        self._run("SET default_transaction_read_only = on")
        self._run("SET timezone = 'UTC'")
        if as_of is not None:
            try:
                connection.execute("SELECT %s::timestamptz", (as_of,))
            except psycopg.DataError:
                raise _no_instant(as_of) from None
            connection.execute("SELECT set_config('cdc.as_of', %s, false)", (as_of,))

    def table(self, query: str) -> tuple[list[str], Rows]:
        """By libpq's own result."""
        result = self._run(query)
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        values = [[result.get_value(row, at) for at in range(result.nfields)] for row in range(result.ntuples)]
        return names, [[None if value is None else value.decode() for value in row] for row in values]

    def json(self, query: str) -> Iterator[bytes]:
        """As `row_to_json` writes them."""
        result = self._run(f"SELECT row_to_json(cdc_row.*)::text FROM ({query}\n) cdc_row")
        for row in range(result.ntuples):
            yield result.get_value(row, 0) or b""

    def _run(self, query: str) -> psycopg.pq.abc.PGresult:
        result = self._connection.pgconn.exec_(query.encode())
        if result.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.COMMAND_OK):
            message = (result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            raise CdcError(f"query: {message}")
        return result


class _ClickHouse:
    def __init__(self, destination: str, address: Address, as_of: str | None) -> None:
        self._destination, self._address = destination, address
        self._settings = {
            "readonly": "2",  # reading, and settings
            "session_timezone": "UTC",
            "output_format_json_quote_64bit_integers": "0",
            "output_format_json_quote_denormals": "1",
        }
        if as_of is not None:
            try:
                self._settings |= as_of_setting(as_of)
            except ValueError:
                raise _no_instant(as_of) from None

    def table(self, query: str) -> tuple[list[str], Rows]:
        """Values as in `FORMAT TabSeparated`."""
        lines = self._ask(query, "TabSeparatedWithNames").split(b"\n")[:-1]
        names, *rows = [[_unescaped(value) for value in line.split(b"\t")] for line in lines] or [[]]
        return [name or "" for name in names], rows

    def json(self, query: str) -> Iterator[bytes]:
        """As `FORMAT JSONEachRow` writes them."""
        yield from self._ask(query, "JSONEachRow").splitlines()

    def _ask(self, query: str, form: str) -> bytes:
        try:
            with contextlib.closing(Connection(self._address)) as connection:
                return connection.raw(query, form, self._settings)
        except ClickHouseError as error:
            said = _SAID.search(str(error))
            if said is None or getattr(error, "code", None) in _NOT_LET_IN:
                raise clickhouse.classified(error, self._destination, "connecting") from None
            raise CdcError(f"query: {said[1]}") from None


def _unescaped(value: bytes) -> str | None:
    """A value of `FORMAT TabSeparated`; None for NULL."""
    if value == rb"\N":
        return None
    return re.sub(rb"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), value).decode(errors="backslashreplace")
