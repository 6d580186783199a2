"""SIGKILL wherever the schema changes in the log, and a start again: the truth all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline_tests.chaos.child import SCHEMA_STEPS
from cdc_pipeline_tests.integration.test_schema_changes import FIRST, NAME, assert_truth, workspace
from cdc_pipeline_tests.integration.workspace import drained
from cdc_pipeline_tests.recordings import Recording, opener

BETWEEN = [
    ("tables prepared", 3),
    ("letters stored", 1),
    ("offset moved, not committed", 1),
    ("committed, not known", 2),
]
"""Deaths between the steps of a change, of which the last leaves two micro-batches behind."""

ROUNDS = 16


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The node whose schema changed."""
    open_recording: Callable[[str], Recording] = opener(tmp_path_factory)
    return open_recording(NAME)


def test_killed_where_the_schema_changes(recording: Recording, pg_database: str, tmp_path: Path) -> None:
    """Whether a change is kept, its tables are made, or its batch is committed: the next start goes on from there."""
    there = workspace(tmp_path, recording, pg_database, FIRST)
    kills = [(step, 1) for step in SCHEMA_STEPS] + BETWEEN
    command = [sys.executable, "-m", "cdc_pipeline_tests.chaos.child", str(there.write()), json.dumps(kills * ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    ended = json.loads(done.stdout.splitlines()[-1])
    died = {step for (step, _), code in zip(kills * ROUNDS, ended, strict=True) if code == -9}
    assert [code for code in ended if code not in (0, -9)] == [], done.stderr
    assert died == {step for step, _ in kills}
    assert ended[-1] == 0
    with there.project() as project:
        assert_truth(drained(project), recording)
