"""A project on a real recording and a fresh database, and an instance in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project
from cdc_pipeline.transform import KeyRing
from cdc_pipeline_tests.recordings import Recording, opener

SHOP = "shop-zstd-5.0"
LANE = Lane("warehouse", "node1")


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """Unpacks a recording once."""
    return opener(tmp_path_factory)


def value_of(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> Any:
    """What an entry of an event's metadata holds."""
    return metadata[name].value


@dataclass
class Site:
    """A project's folder: its configuration, a `cdc_raw` of its own that may grow, a schema file that may change."""

    folder: Path
    recording: Recording
    dsn: str
    project: Project

    @property
    def raw(self) -> Path:
        return self.folder / "cdc_raw"

    @property
    def schema(self) -> Path:
        return self.folder / "schema.json"

    @property
    def config(self) -> Path:
        return self.folder / "cdc.yaml"

    def add(self, *numbers: int) -> None:
        """Brings segments of the recording, by their place, as Cassandra would: the index comes last."""
        for number in numbers:
            segment = self.recording.main.segments()[number]
            for path in (segment, segment.with_name(segment.stem + "_cdc.idx")):
                if path.exists():
                    shutil.copyfile(path, self.raw / f".{path.name}")
                    (self.raw / f".{path.name}").rename(self.raw / path.name)
            _age(self.raw)

    def views(self) -> dict[str, list[str]]:
        """Every row of every view, at the clock of the recording's truth."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("SELECT set_config('cdc.as_of', %s, false)", (self.recording.meta["expected_at"],))
            names = connection.execute(
                "SELECT schemaname, viewname FROM pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            return {
                f"{schema}.{view}": sorted(
                    row[0] for row in connection.execute(f'SELECT v::text FROM "{schema}"."{view}" v').fetchall()
                )
                for schema, view in names
            }

    def offsets(self) -> list[tuple[Any, ...]]:
        """The rows of `cdc_offsets`; none before the first claim."""
        with psycopg.connect(self.dsn) as connection:
            if connection.execute("SELECT to_regclass('cdc.cdc_offsets')").fetchone() == (None,):
                return []
            return connection.execute(
                "SELECT destination, partition_id, commitlog_file, commitlog_position, events_processed, epoch "
                "FROM cdc.cdc_offsets"
            ).fetchall()


def _age(folder: Path) -> None:
    """A node that ended left its last index unfinished long ago."""
    long_ago = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(
    tmp_path: Path,
    make_pg_database: Callable[[], str],
    open_recording: Callable[[str], Recording],
) -> Iterator[MakeSite]:
    """A function that makes a site; `segments` are the places of those that are there from the start (None: all)."""
    with ExitStack() as closing:

        def make(
            recording: str = SHOP, *, segments: list[int] | None = None, profile: str = "exact", rows: int = 20_000
        ) -> Site:
            known = open_recording(recording)
            folder = tmp_path / f"site{len(list(tmp_path.glob('site*')))}"
            (folder / "cdc_raw").mkdir(parents=True)
            shutil.copyfile(known.path / "schema.json", folder / "schema.json")
            if not (tmp_path / "keys.json").exists():
                KeyRing.generate(tmp_path / "keys.json")
            dsn = make_pg_database()
            config = {
                "source": {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}},
                "destinations": {"warehouse": {"kind": "postgres", "dsn": dsn, "types": {"profile": profile}}},
                "masking": {"keys": {"file": str(tmp_path / "keys.json")}},
                "batch": {"rows": rows},
                "retry": {"attempts": 2, "wait": 0.01},
            }
            (folder / "cdc.yaml").write_text(json.dumps(config))
            project = closing.enter_context(Project.load(folder / "cdc.yaml"))
            site = Site(folder, known, dsn, project)
            site.add(*(range(len(known.main.segments())) if segments is None else segments))
            return site

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A shop recording, all of it."""
    return make_site()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, with its files in a folder of its own."""
    with dg.DagsterInstance.ephemeral(_made(tmp_path / "dagster")) as made:
        yield made


@pytest.fixture
def sqlite_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps all it knows in files, as `dagster dev` does."""
    with dg.instance_for_test(temp_dir=_made(tmp_path / "sqlite")) as made:
        yield made


def _made(folder: Path) -> str:
    folder.mkdir()
    return str(folder)
