"""Recordings of real nodes, loaded in orders that no log has, and compared with what the nodes answered."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cdc_pipeline.change import Position
from cdc_pipeline.decode import DecodedBatch
from cdc_pipeline.load import Sink, TruthRow, read_truth
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.transform import TableMasks
from cdc_pipeline_tests.integration.stores import Store
from cdc_pipeline_tests.integration.truth import Explained
from cdc_pipeline_tests.integration.workspace import Workspace
from cdc_pipeline_tests.recordings import Recording

MakeStore = Callable[[], Store]

NEVER_IN_THE_LOG = frozenset({"fleeting.t"})
"""Tables without durable writes."""

WITHOUT_A_PLACE = frozenset({"VALUE_OUT_OF_RANGE", "REFUSED_BY_DESTINATION"})

_ROWS = 250


class Recorded:
    """A recording, its lanes (one for each node), and projects over it, each with a store of its own."""

    def __init__(self, recording: Recording, folder: Path, make_store: MakeStore) -> None:
        self.recording = recording
        self._folder = folder
        self._make_store = make_store
        nodes = sorted((recording.path / "nodes").glob("*/cdc_raw")) or [recording.path / "cdc_raw"]
        self._shards = {f"node{number}": {"directory": str(path)} for number, path in enumerate(nodes, 1)}
        first = recording.path / "schema_history" / "000.json"
        self._schema = first if first.exists() else recording.path / "schema.json"

    def workspace(self, name: str) -> tuple[Workspace, Store]:
        """A project in a folder and a store of its own."""
        source: dict[str, Any] = {"shards": self._shards}
        if self.recording.keystore is not None:
            (self._folder / "key.hex").write_text(self.recording.keystore["AES key (hex)"])
            source["encryption"] = {"key": {"file": str(self._folder / "key.hex")}}
        settings = {
            "source": source,
            "batch": {"rows": _ROWS},
            "retry": {"attempts": 20, "wait": 0.02, "max_wait": 0.1},
        }
        path = next(iter(self._shards.values()))["directory"]
        store = self._make_store()
        folder, types = self._folder / name, {"profile": "exact"}
        workspace = Workspace(folder, Path(path), self._schema, store.dsn, False, types, settings)
        workspace.destination = store.destination
        return workspace, store

    def assert_truth(self, project: Project, drained: Sequence[LaneRunner], store: Store) -> int:
        """Every table that has a truth and is loaded has its rows and no others; returns how many rows.

        What `exact` cannot hold (U+0000 in a text, a key too long for an index) is parked, and explains its row.
        """
        sink = project.sink("warehouse")
        compared, seen = 0, set(NEVER_IN_THE_LOG)
        for runner in drained:
            found = (runner.result.parked.keys() - WITHOUT_A_PLACE, runner.result.problems)
            assert found == (set(), []), found
        why = Explained.by_letters(drained[0]) if sink.dead_letters(limit=1) else None
        for table, masks in drained[0].loaded:
            path = self.recording.path / "expected" / f"{table.full_name}.raw.jsonl"
            if path.exists():
                truth = list(read_truth(path))
                missing, extra = self._differences(sink, store, masks, truth, why)
                differs = (table.full_name, list(missing[:2]), list(extra[:2]))
                assert differs == (table.full_name, [], []), differs
                compared += len(truth)
            seen.add(table.full_name)
        missed = {path.name.removesuffix(".raw.jsonl") for path in self.recording.path.glob("expected/*.raw.jsonl")}
        missed -= seen | self._not_loaded(project)
        assert missed == set(), missed
        return compared

    def _differences(
        self, sink: Sink, store: Store, masks: TableMasks, truth: list[TruthRow], why: Explained | None
    ) -> tuple[Sequence[Any], Sequence[str]]:
        as_of = self.recording.meta["expected_at"]
        if why is not None:
            return store.unexplained(sink, masks, truth, as_of, why)
        found = sink.compare(masks.table, masks, truth, as_of)
        return found.missing, found.extra

    def _not_loaded(self, project: Project) -> set[str]:
        """Tables without CDC, and those that `plan` refuses now: a project keeps what it knew when it was opened."""
        with Project(project.settings) as fresh:
            refused = {one.table for one in fresh.plan("warehouse") if one.refusal is not None}
        return refused | {table.full_name for table in self.recording.schema.current if not table.cdc}


def runners(project: Project) -> list[LaneRunner]:
    """One for each lane."""
    return [project.lane(lane) for lane in project.lanes()]


def forward(project: Project) -> list[LaneRunner]:
    """Every lane as it is, all at once."""
    lanes = runners(project)
    failed: list[BaseException] = []

    def run(runner: LaneRunner) -> None:
        try:
            runner.open("test")
            runner.drain()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(runner,)) for runner in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(250)
    assert failed == [], failed
    return lanes


def again(project: Project, ends: Sequence[LaneRunner], store: Store | None = None) -> list[LaneRunner]:
    """Lanes over an empty destination, with the schema of where those that drained the same log ended."""
    lanes = runners(project)
    for runner, end in zip(lanes, ends, strict=True):
        runner.prepare_tables()
        for segment in runner.source.segments():  # all will be read, so that no counter begins unseen
            runner.sink.load(runner.lane, [], [], Position(segment.path.name, 1))
        runner._stand(end.held.position)
    if store is not None:
        store.prepared()
    return lanes


def reverse(project: Project, ends: Sequence[LaneRunner], _: random.Random, store: Store) -> None:
    """The last node first, of each the last segment, and of that the last micro-batch."""
    for runner in reversed(again(project, ends, store)):
        for segment in reversed(runner.source.segments()):
            for decoded in list(runner.reading(segment))[::-1]:
                reload(runner, decoded)


def shuffled(
    project: Project, ends: Sequence[LaneRunner], rng: random.Random, store: Store | None = None, times: int = 1
) -> None:
    """Micro-batches of all nodes in any order, each so many times."""
    drawn: list[tuple[LaneRunner, DecodedBatch]] = []
    for runner in again(project, ends, store):
        for segment in runner.source.segments():
            drawn += [(runner, decoded) for decoded in runner.reading(segment)] * times
    rng.shuffle(drawn)
    for runner, decoded in drawn:
        reload(runner, decoded)


def reload(runner: LaneRunner, decoded: DecodedBatch) -> None:
    """One micro-batch, wherever the lane stands."""
    runner.reload(runner.prepared(decoded), lambda: decoded)


def tripled(project: Project, ends: Sequence[LaneRunner], rng: random.Random, store: Store) -> None:
    """Three times, in any order."""
    shuffled(project, ends, rng, store, 3)


def killed(workspace: Workspace, store: Store, rng: random.Random, kills: int) -> None:
    """Killed at steps drawn at random, and then loaded to the end."""
    drawn = [(step, rng.choice((1, 1, 2, 3))) for step in rng.sample(store.steps, min(kills, len(store.steps)))]
    drawn.insert(0, (store.first, 1))  # the others may lie where this log never comes, and then the lane is drained
    command = [sys.executable, "-m", "cdc_pipeline_tests.chaos.child", str(workspace.write()), json.dumps(drawn)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250, env=os.environ)
    ended = json.loads(done.stdout.splitlines()[-1])
    assert [code for code in ended if code not in (0, -9)] == [], done.stderr
    assert -9 in ended, f"expected a kill at one of {drawn}, found {ended}"


ORDERS = {"reverse": reverse, "shuffled": shuffled, "tripled": tripled}
