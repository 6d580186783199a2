"""Configuration files to load, in an environment without anything of ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.config import Settings, load_config

MINIMAL = """
source:
  shards: {node1: {directory: cdc_raw}}
  schema: {file: schema.json}
destinations:
  warehouse: {kind: postgres, host: db.example, user: loader, password: geheim}
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No CDC_ variable of the machine, and an empty working directory."""
    for name in [name for name in os.environ if name.upper().startswith("CDC_")]:
        monkeypatch.delenv(name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Settings]:
    """Load a text as the file cdc.yaml."""

    def loaded(text: str) -> Settings:
        file = tmp_path / "cdc.yaml"
        file.write_text(text, encoding="utf-8")
        return load_config(file)

    return loaded
