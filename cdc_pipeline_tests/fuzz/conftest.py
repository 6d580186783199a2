"""Recordings for the tests of damage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cdc_pipeline_tests.recordings import Recording, opener


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)
