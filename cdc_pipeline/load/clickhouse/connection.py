"""A connection to a server over HTTP: statements, rows, and inserts of whole Arrow tables."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.errors import MEMORY_LIMIT_EXCEEDED, UNKNOWN_DATABASE, UNKNOWN_TABLE, code_of
from cdc_pipeline.load.clickhouse.names import quoted

_INSERT = {
    "optimize_on_insert": "0",  # merging each block before it is written costs five times the insert
    "async_insert": "0",  # what was answered is written
    "input_format_null_as_default": "1",
    "max_insert_block_size": "1048576",  # an insert is one part
    "min_insert_block_size_rows": "1048576",
    "min_insert_block_size_bytes": "1073741824",
    "distributed_foreground_insert": "1",
}

_DDL = {"max_query_size": str(64 << 20), "max_ast_elements": "5000000"}
"""The statement that makes the view of a wide table is longer than servers take as they are."""

_DEDUPLICATE = {"deduplicate_insert": "disable", "insert_deduplicate": "0"}
"""The greatest absorbs what comes twice, and a block that was purged may come again. Of the two names for it the first
wins where a server knows it, and is an error where not."""


_LEAST = 256
"""Rows; that few are not parted for want of memory."""

_ROWS_AT_ONCE = 8192
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
"""Behind the last batch of an Arrow stream."""


class Connection:
    """Connects on first use; `settings` go with every statement. Errors are the driver's."""

    def __init__(self, address: Address, settings: Mapping[str, str] | None = None) -> None:
        self._address = address
        self._settings = dict(settings or {})
        self._client: Client | None = None
        silent = logging.getLogger("clickhouse_connect")
        if not silent.handlers:
            silent.addHandler(logging.NullHandler())  # else it writes to stderr what we say ourselves

    def run(self, statement: str) -> None:
        """A statement without rows; that of the view of a wide table is long."""
        self._open().command(statement, settings=_DDL)

    def insert_from(self, statement: str) -> None:
        """An `INSERT … SELECT`."""
        client = self._open()
        known = {name: value for name, value in _DEDUPLICATE.items() if name in client.server_settings}
        client.command(statement, settings=known)

    def rows(
        self, query: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, str] | None = None
    ) -> Sequence[Sequence[Any]]:
        """The rows of a query; `parameters` are ClickHouse's own, `{name:Type}` in the text."""
        found: Sequence[Sequence[Any]] = (
            self._open().query(query, dict(parameters or {}), dict(settings or {})).result_rows
        )
        return found

    def rows_if_there(self, query: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """The rows of a query; none where its table was never made."""
        try:
            return self.rows(query, parameters)
        except ClickHouseError as error:
            if code_of(error) in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
                return []
            raise

    def raw(self, query: str, form: str, settings: Mapping[str, str]) -> bytes:
        """What a query answers in one of ClickHouse's formats."""
        found: bytes = self._open().raw_query(query, settings=dict(settings), fmt=form)
        return found

    def insert(self, table: str, data: pa.Table) -> None:
        """The rows of an Arrow table, by the names of its columns; `table` is quoted.

        What the server has no memory for is inserted in halves, and these in theirs. Where one fails, others may be
        there: whoever inserts does so again.
        """
        try:
            self._insert(table, data)
        except ClickHouseError as error:
            if code_of(error) != MEMORY_LIMIT_EXCEEDED or data.num_rows <= _LEAST:
                raise
            half = data.num_rows // 2
            self.insert(table, data.slice(0, half))
            self.insert(table, data.slice(half))

    def _insert(self, table: str, data: pa.Table) -> None:
        client = self._open()
        known = {name: value for name, value in _DEDUPLICATE.items() if name in client.server_settings}
        client.raw_insert("", insert_block=_pieces(table, data), settings=_INSERT | known)

    def close(self) -> None:
        """Closes the connection; the next statement opens another. May be repeated."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _open(self) -> Client:
        if self._client is None:
            self._client = clickhouse_connect.get_client(
                host=self._address.host,
                port=self._address.port,
                username=self._address.username,
                password=self._address.password,
                secure=self._address.secure,
                verify=self._address.verify,
                ca_cert=self._address.ca_cert,
                connect_timeout=self._address.connect_timeout,
                send_receive_timeout=self._address.send_receive_timeout,
                autogenerate_session_id=False,
                compress=False,
                settings=self._settings,
                client_name="cdc_pipeline",
            )
        return self._client


def _pieces(table: str, data: pa.Table) -> Generator[bytes]:
    """An insert as it is sent: a few rows at a time, for none of them to be held twice."""
    columns = ", ".join(map(quoted, data.column_names))
    yield f"INSERT INTO {table} ({columns}) FORMAT ArrowStream\n".encode()
    yield data.schema.serialize().to_pybytes()
    for batch in data.to_batches(_ROWS_AT_ONCE):
        yield batch.serialize().to_pybytes()
    yield _END_OF_STREAM
