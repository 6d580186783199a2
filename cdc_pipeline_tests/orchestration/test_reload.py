from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from cdc_pipeline.dlq import FailureReason
from cdc_pipeline.orchestration import build_definitions, materialize_lane
from cdc_pipeline_tests.orchestration.conftest import LANE, MakeSite, Site


def reload(site: Site, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    """The job, with a config of its `plan`."""
    job = build_definitions(site.project).resolve_job_def("segment_reload")
    run_config = {"ops": {"plan": {"config": config}}}
    return job.execute_in_process(partition_key="node1", instance=instance, run_config=run_config)


def test_all_segments_in_reverse_give_what_a_drain_gives(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """An empty destination, loaded backwards, holds the same rows, and no offset was made."""
    drained, reloaded = make_site(), make_site()
    materialize_lane(drained.project, LANE, instance)
    names = [path.name for path in drained.recording.main.segments()]
    reload(reloaded, instance, segments=names[::-1])
    assert reloaded.views() == drained.views()
    assert any(reloaded.views().values())
    assert reloaded.offsets() == []


def test_after_a_drain_it_changes_nothing(site: Site, instance: dg.DagsterInstance) -> None:
    """Where nothing is missing nothing changes, and the offsets stay."""
    materialize_lane(site.project, LANE, instance)
    before = (site.views(), site.offsets())
    reload(site, instance)
    assert (site.views(), site.offsets()) == before


def test_a_segment_is_finished_before_the_next_is_begun(site: Site, instance: dg.DagsterInstance) -> None:
    """Ops run in the order plan, then parse, mask and load of each segment, so that one segment is held at a time."""
    result = reload(site, instance)
    steps = [str(event.step_key) for event in result.all_events if event.is_step_success]
    assert [step.split("[")[0] for step in steps] == ["plan", *["parse", "mask", "load"] * ((len(steps) - 1) // 3)]
    assert len(steps) > 4


def test_only_the_tables_asked_for(site: Site, instance: dg.DagsterInstance) -> None:
    """With tables in the configuration the others stay as they are."""
    reload(site, instance, tables=["ecommerce.orders"])
    views = site.views()
    assert views["ecommerce.orders"]
    assert views["ecommerce.users"] == []


def test_small_batches_give_the_same(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """However a segment is cut into micro-batches, the rows are the same."""
    coarse, fine = make_site(), make_site(rows=300)
    reload(coarse, instance)
    reload(fine, instance)
    assert fine.views() == coarse.views()


def test_nothing_is_written_to_files(site: Site, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Ops hand data on in memory: no file under the instance's storage holds an output."""
    reload(site, instance)
    stored = [path for path in (tmp_path / "dagster" / "storage").rglob("*") if path.is_file()]
    assert [path for path in stored if "compute_logs" not in path.parts] == []


def test_a_row_that_the_server_refuses_is_parked_alone(make_site: MakeSite, instance: dg.DagsterInstance) -> None:
    """A refused row becomes a dead letter, found by decoding its micro-batch once more; the others are loaded."""
    whole, site = make_site(), make_site(rows=500)
    reload(whole, instance)
    build_definitions(site.project).resolve_job_def("prepare_tables").execute_in_process(instance=instance)
    with psycopg.connect(whole.dsn) as there, psycopg.connect(site.dsn) as here:
        (sku,) = there.execute("SELECT min(sku) FROM ecommerce.products").fetchone() or ("",)
        constraint = sql.SQL('ALTER TABLE cdc."ecommerce.products" ADD CHECK ("k:p0" <> {})')
        here.execute(constraint.format(sql.Literal(sku)))
    reload(site, instance)
    letters = site.project.sink("warehouse").dead_letters()
    assert {(letter.table, letter.reason) for letter in letters} == {("products", FailureReason.REFUSED_BY_DESTINATION)}
    expected, loaded = whole.views(), site.views()
    assert len(loaded["ecommerce.products"]) == len(expected["ecommerce.products"]) - 1
    assert loaded["ecommerce.users"] == expected["ecommerce.users"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"segments": ["CommitLog-7-1.log"]}, "segments: expected a segment of shard node1, found CommitLog-7-1.log"),
        ({"tables": ["ecommerce.user"]}, "tables: expected a table of .*, found ecommerce.user"),
        ({"destination": "lake"}, "expected a destination of warehouse, found lake"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    site: Site, instance: dg.DagsterInstance, config: dict[str, Any], sentence: str
) -> None:
    """A segment, table or destination that does not exist stops `plan`, before anything is loaded."""
    with pytest.raises(dg.Failure) as caught:
        reload(site, instance, **config)
    assert re.search(sentence, str(caught.value.description))
