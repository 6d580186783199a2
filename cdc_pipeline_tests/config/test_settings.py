"""The key ring's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_pipeline.config import KeySource
from cdc_pipeline.errors import ConfigurationError


def test_a_key_ring_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is read when it is needed."""
    file = tmp_path / "keys.json"
    file.write_text("{}")
    monkeypatch.setenv("RING", '{"keys": []}')
    assert KeySource(file=file).read() == "{}"
    assert KeySource(env="RING").read() == '{"keys": []}'


def test_a_key_ring_that_is_not_there(tmp_path: Path) -> None:
    """One sentence with the file or the variable, and the key."""
    with pytest.raises(ConfigurationError, match=r"keys\.json: masking\.keys\.file: .* ring, found: No such"):
        KeySource(file=tmp_path / "keys.json").read()
    with pytest.raises(ConfigurationError, match=r"masking\.keys\.env: expected .* variable NO_RING, found it not set"):
        KeySource(env="NO_RING").read()
