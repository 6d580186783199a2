"""Recordings, unpacked once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cdc_pipeline_tests.recordings import Recording, opener


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The node whose schema changed."""
    open_recording: Callable[[str], Recording] = opener(tmp_path_factory)
    return open_recording("schema-changes-5.0")
