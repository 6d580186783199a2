"""A place in ClickHouse for the examples of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from cdc_pipeline_tests.clickhouse import ChDatabase, ChServer
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.clickhouse.merging import ClickHouseGround

Make = Callable[..., AbstractContextManager[ClickHouseDestination]]


@pytest.fixture(scope="module")
def one_place(ch_server: ChServer) -> Iterator[ChDatabase]:
    """One place for all examples: each has a table of its own."""
    place = ch_server.place()
    yield place
    place.drop()


@pytest.fixture
def ground(one_place: ChDatabase) -> ClickHouseGround:
    """Where one example after the other is loaded."""
    return ClickHouseGround(one_place)


@pytest.fixture
def loaded(ground: ClickHouseGround) -> Make:
    """A function that prepares a table, which is gone afterwards."""
    return ground.loaded
