"""A project in a folder of its own: a recording's segments, a configuration, a key ring, a real database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_pipeline.cli import main
from cdc_pipeline_tests.recordings import Recording, opener


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


@dataclass
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """Runs commands in a project's folder."""

    folder: Path
    capture: pytest.CaptureFixture[bytes]

    def __call__(self, *arguments: str) -> Answer:
        self.capture.readouterr()
        code = main(arguments)
        read = self.capture.readouterr()
        return Answer(code, read.out.decode(), read.err.decode())

    def configure(self, **changes: Any) -> None:
        """Changes top-level sections of cdc.yaml."""
        path = self.folder / "cdc.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))

    @property
    def segments(self) -> list[Path]:
        """The segments of the project by name."""
        return sorted((self.folder / "cdc_raw").glob("*.log"))


@pytest.fixture
def shell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    open_recording: Callable[[str], Recording],
) -> Shell:
    """A shell in an empty folder with tombstones-5.0 and without a destination that can be reached."""
    recording = open_recording("tombstones-5.0")
    shutil.copytree(recording.path / "cdc_raw", tmp_path / "cdc_raw")
    shutil.copy(recording.path / "schema.json", tmp_path)
    settings = {
        "source": {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}},
        "destinations": {"warehouse": {"kind": "postgres", "host": "127.0.0.1", "port": 1, "dbname": "none"}},
        "retry": {"attempts": 2, "wait": 0.01, "max_wait": 0.02},
    }
    (tmp_path / "cdc.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CDC_CONFIG", raising=False)
    return Shell(tmp_path, capfdbinary)


@pytest.fixture
def loaded(shell: Shell, pg_database: str) -> Shell:
    """The same shell with a real database as its destination."""
    shell.configure(destinations={"warehouse": {"kind": "postgres", "dsn": pg_database, "types": {"profile": "exact"}}})
    return shell
