"""ClickHouse keeps the contract, and what is its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline_tests.chaos.gate import Gate, State
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.contract import Place, SinkContract


class ClickHousePlace(Place):
    """Databases of a prefix, with a gate before their server."""

    atomic = False

    def __init__(self, database: ChDatabase, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    def sink(self) -> ClickHouseSink:
        """A sink for it."""
        return self._through(self._gate.port)

    def unreachable(self) -> ClickHouseSink:
        """A port that nobody listens on."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return self._through(port)

    def disconnect(self) -> None:
        """Closes the gate."""
        self._gate.set(State.CLOSED)

    def reconnect(self) -> None:
        """Opens it."""
        self._gate.set(State.OPEN)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """The view's rows."""
        with closing(self._database.client()) as client:
            return sorted(client.query(f"SELECT * FROM {self._database.prefix}{name}").result_rows)

    def _through(self, port: int) -> ClickHouseSink:
        place = self._database
        address = Address(place.host, port, place.username, place.password, connect_timeout=2, send_receive_timeout=60)
        options = ClickHouseOptions(state_database=f"{place.prefix}cdc", prefix=place.prefix)
        return ClickHouseSink("warehouse", address, options=options)


class TestClickHouse(SinkContract):
    """The contract."""

    @pytest.fixture
    def place(self, ch_database: ChDatabase) -> Iterator[ClickHousePlace]:
        """A place of its own, behind a gate."""
        with Gate(ch_database.host, ch_database.port) as gate:
            yield ClickHousePlace(ch_database, gate)
