"""Recordings for the tests of damage, and no deadlines: the machine may be busy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

from cdc_pipeline_tests.recordings import Recording, opener

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)
