"""User types that are altered, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.load.postgres.options import PostgresOptions
from cdc_pipeline.schema import TableFilter
from cdc_pipeline_tests.load.altered import AlteredTypes, T
from cdc_pipeline_tests.load.destination import Destination


@pytest.fixture(params=["native", "exact", "native table"])
def destination(request: pytest.FixtureRequest, pg_database: str) -> Iterator[Destination]:
    """A destination of the table before ALTER TYPE; users get a view, or a table."""
    profile, _, surface = request.param.partition(" ")
    surfaces = TableFilter(("*",)) if surface else None

    def make_sink(*arguments: Any) -> PostgresSink:
        return PostgresSink(*arguments, options=PostgresOptions(surfaces=surfaces))

    with Destination(pg_database, (T,), profile=profile, make_sink=make_sink).prepare() as made:
        yield made


class TestAlteredTypes(AlteredTypes):
    """What every destination shows behind ALTER TYPE."""
