"""Recordings of real nodes into tables that are kept equal to their views: the truth, in any order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from cdc_pipeline.load.postgres import names
from cdc_pipeline_tests.integration.test_truth import assert_truth
from cdc_pipeline_tests.integration.truth import plan_of, tables_with_truth
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, rows
from cdc_pipeline_tests.recordings import Recording

CASES = [
    ("shop-lz4-4.1", "native"),
    ("tombstones-5.0", "exact"),
    ("random-5.0-s1", "native"),
    ("types-5.0-v8", "exact"),
]


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_truth_in_any_order(
    open_recording: Callable[[str], Recording],
    make_pg_database: Callable[[], str],
    tmp_path: Path,
    name: str,
    profile: str,
) -> None:
    """At the clock of the truth, drained and in reverse, each table holds it, and what its view holds now."""
    recording = open_recording(name)
    segments, schema = recording.main.path, recording.path / "schema.json"
    instant = recording.meta["expected_at"].replace(" ", "T")
    for backwards in (False, True):
        conninfo = make_pg_database()
        clocked = make_conninfo(conninfo, options=f"-c cdc.as_of={instant}")
        how = {"surface": "table"}
        with Workspace(
            tmp_path, segments, schema, clocked, False, {"profile": profile}, destination=how
        ).project() as project:
            runner = lane(project) if backwards else drained(project)
            runner.backfill(reversed(runner.source.segments()) if backwards else [])
            assert_truth(project, runner, recording, conninfo, profile)
            for masks, _ in tables_with_truth(project, runner, recording):
                plan = plan_of(runner.sink, masks)
                listed = ", ".join(names.quoted(column.name) for column in masks.table.columns)
                table, view = (
                    rows(clocked, f"SELECT ROW({listed})::text FROM {of} ORDER BY 1") for of in (plan.public, plan.view)
                )
                assert table == view
