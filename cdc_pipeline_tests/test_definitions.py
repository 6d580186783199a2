from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from structlog.testing import capture_logs

from cdc_pipeline.orchestration import load_definitions
from cdc_pipeline_tests.schema.rows import snapshot

ROOT = Path(__file__).parents[1]


def test_without_a_configuration_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing configured there are no lanes, and a sentence in the log and in the code location says why."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDC_CONFIG", raising=False)
    with capture_logs() as lines:
        definitions = load_definitions()
    dg.Definitions.validate_loadable(definitions)
    assert list(definitions.resolve_all_asset_specs()) == []
    assert "expected CDC_CONFIG or ./cdc.yaml" in lines[0]["event"]
    assert "expected CDC_CONFIG or ./cdc.yaml" in str(definitions.metadata["cdc_pipeline"])


def test_dagster_validates_the_workspace(tmp_path: Path) -> None:
    """`dagster definitions validate` loads the module as `workspace.yaml` names it."""
    config = {
        "source": {"shards": {"node1": {"directory": "raw"}}, "schema": {"file": "schema.json"}},
        "destinations": {"warehouse": {"kind": "postgres", "host": "127.0.0.1"}},
    }
    (tmp_path / "schema.json").write_text(json.dumps(snapshot()))
    (tmp_path / "cdc.yaml").write_text(json.dumps(config))
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    environment.pop("CDC_CONFIG", None)
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "cdc_pipeline" in done.stdout + done.stderr


def test_the_project_file_names_the_module() -> None:
    """`pyproject.toml` and `workspace.yaml` name the same module."""
    assert 'module_name = "cdc_pipeline.definitions"' in (ROOT / "pyproject.toml").read_text()
    assert "module_name: cdc_pipeline.definitions" in (ROOT / "workspace.yaml").read_text()
