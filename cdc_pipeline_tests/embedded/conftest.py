"""A folder for one embedded server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipeline_tests.embedded.processes import eventually, processes_of


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder for one server, in which nothing may live on after the test."""
    place = Path(tempfile.mkdtemp(prefix="cdc-tests-embedded-")).resolve()
    try:
        yield place
        assert eventually(lambda: not processes_of(place)), processes_of(place)
    finally:
        shutil.rmtree(place)
