"""User types that are altered, on ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.altered import AlteredTypes, T, shown
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.destination import Destination


@pytest.fixture(params=["native", "exact"])
def destination(request: pytest.FixtureRequest, ch_database: ChDatabase) -> Iterator[ClickHouseDestination]:
    """A destination of the table before ALTER TYPE."""
    with ClickHouseDestination("", (T,), profile=request.param, place=ch_database).prepare() as made:
        yield made


class TestAlteredTypes(AlteredTypes):
    """What every destination shows behind ALTER TYPE."""

    def shown(self, destination: Destination) -> list[dict[str, Any]]:
        """What users see, by row."""
        return shown(destination, "{p}ks")
