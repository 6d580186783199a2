"""Recordings of real nodes into a real TimescaleDB, its chunks compressed in between: the truth, in any order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline_tests.integration.test_truth import assert_truth
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane
from cdc_pipeline_tests.load.destination import state_of
from cdc_pipeline_tests.load.timescaledb.server.conftest import compress
from cdc_pipeline_tests.recordings import NAMES, Recording, opener

CHOSEN = [name for name in NAMES if name.startswith(("shop-5", "shop-lz4", "types-", "tombstones-", "random-"))]


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


@pytest.mark.parametrize("profile", ["exact", "native"])
@pytest.mark.parametrize("name", CHOSEN)
def test_truth_in_any_order(
    open_recording: Callable[[str], Recording], quiet_database: str, tmp_path: Path, name: str, profile: str
) -> None:
    """Draining gives the truth; all of it again, compressed, forward and in reverse, leaves the same state."""
    recording = open_recording(name)
    how = {"kind": "timescaledb", "compress_after": "7d"}
    types = {"profile": profile}
    files = Workspace(
        tmp_path, recording.main.path, recording.path / "schema.json", quiet_database, False, types, destination=how
    )
    with files.project() as project:
        runner = drained(project)
        assert_truth(project, runner, recording, quiet_database, profile)
        before = state_of(quiet_database)
        for order in (list, lambda segments: list(reversed(segments))):
            compressed(quiet_database)
            again = lane(project)
            again.backfill(order(again.source.segments()))
            assert state_of(quiet_database) == before
        assert_truth(project, runner, recording, quiet_database, profile)
    empty(quiet_database)
    with files.project() as project:
        reverse: LaneRunner = lane(project)
        for segment in reversed(reverse.source.segments()):
            reverse.backfill([segment])
            compressed(quiet_database)
        assert state_of(quiet_database) == before


def compressed(conninfo: str) -> int:
    """Compresses every chunk that may be; returns how many are compressed then."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return compress(connection)


def empty(conninfo: str) -> None:
    """Drops what a project made; the schema of the next begins anew."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        schemas = connection.execute("SELECT DISTINCT table_schema FROM information_schema.views").fetchall()
        kept = ("pg_catalog", "information_schema", "timescaledb_information", "timescaledb_experimental")
        for (schema,) in schemas:
            if schema not in kept and not schema.startswith("_timescaledb"):
                connection.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())
        connection.execute("DROP SCHEMA cdc CASCADE")
