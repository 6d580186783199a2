"""Random schemas and statements on a live node, decoded while they are written."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cdc_pipeline.change import START
from cdc_pipeline.project import Project
from cdc_pipeline_tests.integration.recorded import shuffled
from cdc_pipeline_tests.integration.workspace import Workspace, drained
from cdc_pipeline_tests.live import oracle
from cdc_pipeline_tests.live.follow import FENCE
from cdc_pipeline_tests.live.rounds import LiveNode, Round
from cdc_pipeline_tests.live.truth import changes_of, comparable, merged, selected
from cdc_pipeline_tests.load.changes import Change

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

STATEMENTS = int(os.environ.get("CDC_LIVE_STATEMENTS") or 400)
MOST_REFUSED = 0.05


def test_round(node: LiveNode, seed: int, tmp_path: Path, make_pg_database: Callable[[], str]) -> None:
    """What is decoded live equals Cassandra's own reader line by line, so does the command's dump of all of it, and
    merged it equals what `SELECT` answers; so does a PostgreSQL that it was loaded into, in whatever order."""
    sent, refused = node.client.sent, len(node.client.refused)
    this = node.run(seed, STATEMENTS)
    assert this.refused - refused <= MOST_REFUSED * (this.sent - sent), node.client.refused[-10:]
    live_equals_oracle(node, this, tmp_path)
    followed_equals_live(node, this)
    command_equals_oracle(node, this, tmp_path)
    merged_equals_select(node, this)
    loaded_equals_select(node, this, tmp_path, make_pg_database)


def live_equals_oracle(node: LiveNode, this: Round, folder: Path) -> None:
    """Each phase, with the schema of its time, up to its fence."""
    for number, phase in enumerate(this.phases):
        assert list(phase.damage) == []
        assert phase.batches > 1, "the segments were not read while they were written"
        everything = oracle.dump(phase.schema, node.segments([phase]), folder / f"phase-{number}")
        expected = oracle.between(everything, phase.start, phase.end)
        equal(oracle.between(phase.lines, phase.start, phase.end), expected)
        assert sum(FENCE.rpartition(".")[2].encode() in line for line in expected) == 1


def followed_equals_live(node: LiveNode, this: Round) -> None:
    """With the first schema alone, and what the log says of its changes, each phase is what it was with its own; but
    for tables of another test on this node, whose CDC was switched on within the phase."""
    followed = node.followed(this)
    for phase in this.phases:
        pair = (oracle.between(lines, phase.start, phase.end) for lines in (followed, phase.lines))
        equal(*([line for line in lines if b'"keyspace":"counters_' not in line] for lines in pair))


def command_equals_oracle(node: LiveNode, this: Round, folder: Path) -> None:
    """`cdc-pipeline decode` of the round's segments, with the history of the schema."""
    segments = node.segments(this.phases)
    schema = ["--schema", str(this.schema), "--schema-history", str(this.history)]
    command = ["decode", *map(str, segments), *schema, "--format", "mutations"]
    start = [sys.executable, "-c", "from cdc_pipeline.cli import main; main()"]
    done = subprocess.run([*start, *command], capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = oracle.dump(this.schema, segments, folder / "all", this.history)
    equal(done.stdout.split(b"\n")[:-1], expected)


def equal(ours: Sequence[bytes], cassandras: Sequence[bytes]) -> None:
    """Shows some lines of either side alone, and not all of them."""
    different = list(oracle.differences(ours, cassandras))
    only_ours = set(ours) - set(cassandras)
    only_cassandras = set(cassandras) - set(ours)
    assert not different, (len(ours), len(cassandras), list(only_ours)[:2], list(only_cassandras)[:2])
    assert cassandras


def merged_equals_select(node: LiveNode, this: Round) -> None:
    """The reference's merge of all changes, table by table."""
    decoded = node.decoded(this)
    compared = 0
    for table in this.kept_tables():
        begin = this.truncated.get(table.full_name, START)
        changes: list[Change] = [
            change for batch in decoded if batch.table.id == table.id for change in changes_of(batch, begin)
        ]
        answer = comparable(table, selected(node.client, table))
        assert comparable(table, merged(table, changes)) == answer, table.full_name
        compared += len(answer)
    assert compared


def loaded_equals_select(node: LiveNode, this: Round, folder: Path, make_database: Callable[[], str]) -> None:
    """Through the whole pipeline: from the first schema and the log alone, in the log's order, and then its
    micro-batches shuffled and tripled into another database."""
    rng = random.Random(this.keyspace)
    settings = {"source": {"tables": [f"{this.keyspace}.*"]}, "batch": {"rows": rng.choice((20, 100, 1000))}}

    def project(name: str, conninfo: str) -> Project:
        first = this.phases[0].schema
        return Workspace(
            folder / name, node.files.cdc_raw, first, conninfo, False, {"profile": "exact"}, settings
        ).project()

    forward, elsewhere = make_database(), make_database()
    with project("forward", forward) as one, project("shuffled", elsewhere) as other:
        runner = drained(one)
        shuffled(other, [runner], rng, times=3)
        assert not runner.result.parked_by_table
        compared, sinks = 0, (one.sink("warehouse"), other.sink("warehouse"))
        loaded = {table.id: masks for table, masks in runner.loaded}
        for table in this.kept_tables():
            if table.is_counter:
                continue
            answer = selected(node.client, table)
            as_of = dt.datetime.now(dt.UTC).isoformat()
            for sink in sinks:
                found = sink.compare(loaded[table.id].table, loaded[table.id], answer, as_of)
                differs = (table.full_name, found.missing[:2], found.extra[:2])
                assert differs == (table.full_name, (), ()), (this.keyspace, sink is sinks[0])
            compared += len(answer)
    assert compared
