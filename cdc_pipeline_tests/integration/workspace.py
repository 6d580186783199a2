"""A configured project over some segments and a fresh database: what a user would write, as files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import yaml

from cdc_pipeline.change import ChangeEvent
from cdc_pipeline.offsets import LaneState
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.transform import KeyRing

FAST = {"attempts": 3, "wait": 0.01, "max_wait": 0.02}
"""A retry that gives up soon."""


@dataclasses.dataclass
class Workspace:
    """A folder with `cdc.yaml`, key ring and rules; `settings` holds more sections, `types` and
    `destination` the destination's."""

    folder: Path
    segments: Path
    schema: Path
    conninfo: str
    masked: bool = True
    types: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    rules: dict[str, Any] | None = None
    destination: dict[str, Any] = dataclasses.field(default_factory=dict)

    def write(self) -> Path:
        """Writes the files; returns the configuration's path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "keys.json").exists():
            KeyRing.generate(self.folder / "keys.json")
        rules = self.rules or ({} if self.masked else {"pii_fields": [], "phi_fields": []})
        (self.folder / "masking.yaml").write_text(yaml.safe_dump(rules))
        config = {
            "source": {
                "shards": {"node1": {"directory": str(self.segments)}},
                "schema": {"file": str(self.schema)},
                **self.settings.get("source", {}),
            },
            "destinations": {
                "warehouse": {"kind": "postgres", "dsn": self.conninfo, "types": self.types, **self.destination}
            },
            "masking": {"keys": {"file": "keys.json"}, "rules": "masking.yaml"},
            "retry": FAST,
            **{name: section for name, section in self.settings.items() if name != "source"},
        }
        path = self.folder / "cdc.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def project(self) -> Project:
        """The project, loaded from its files."""
        return Project.load(self.write())


def lane(project: Project) -> LaneRunner:
    """A runner of the one lane."""
    (only,) = project.lanes()
    return project.lane(only)


def drained(project: Project) -> LaneRunner:
    """A runner that has opened its lane and drained it."""
    runner = lane(project)
    runner.open("test")
    runner.drain()
    return runner


def copied(segments: Path, to: Path) -> Path:
    """A copy of a folder of segments that a test may damage."""
    shutil.copytree(segments, to)
    return to


def events_of(runner: LaneRunner) -> list[ChangeEvent]:
    """Every change that the runner's source holds, unmasked."""
    return [
        event
        for segment in runner.source.segments()
        for decoded in runner.reading(segment)
        for batch in decoded.tables
        for event in batch.events()
    ]


def rows(conninfo: str, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


def offset(runner: LaneRunner) -> LaneState:
    """The lane's row in the destination."""
    state = runner.sink.state(runner.lane)
    assert state is not None
    return state


def write_schema(path: Path, keyspaces: dict[str, Any]) -> Path:
    """A schema snapshot's file."""
    path.write_text(json.dumps(keyspaces))
    return path
