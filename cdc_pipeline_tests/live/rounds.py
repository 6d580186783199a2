"""One seed on a live node: a random keyspace, written and changed in phases, decoded all along."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cdc_pipeline.change import START, ChangeBatch, Position, parse_segment_name
from cdc_pipeline.decode import Decoder, dump_lines
from cdc_pipeline.schema import Schema, Table, load_schema
from cdc_pipeline_tests.live.client import Client
from cdc_pipeline_tests.live.follow import FENCE, Follower, not_cassandras_own
from cdc_pipeline_tests.live.node import ADDRESS, NodeFiles
from cdc_pipeline_tests.live.schemas import SchemaMaker
from cdc_pipeline_tests.live.statements import Statement, StatementMaker
from cdc_pipeline_tests.recordings import segment_paths
from cdc_pipeline_tests.types.values import int_bytes

PHASES = 3
_FENCE_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """What was decoded live between two changes of the schema."""

    schema: Path
    start: Position
    end: Position
    lines: Sequence[bytes]
    damage: Sequence[str]
    batches: int


@dataclasses.dataclass
class Round:
    """What a seed gave; `truncated` says where tables began anew."""

    keyspace: str
    phases: list[Phase] = dataclasses.field(default_factory=list)
    truncated: dict[str, Position] = dataclasses.field(default_factory=dict)
    refused: int = 0
    sent: int = 0

    @property
    def schema(self) -> Path:
        """The newest snapshot."""
        return self.phases[-1].schema

    @property
    def history(self) -> Path:
        """The folder of all snapshots."""
        return self.schema.parent

    def kept_tables(self) -> list[Table]:
        """Tables that are there at the end, whose changes were all bound to be in `cdc_raw`."""
        seen = [load_schema(phase.schema).tables for phase in self.phases]
        kept = [table for table in seen[-1].values() if table.keyspace == self.keyspace and not table.is_view]
        return [table for table in kept if all(then[table.id].cdc for then in seen if table.id in then)]


class LiveNode:
    """A running node with a client, and how far it was read."""

    def __init__(self, files: NodeFiles, client: Client, folder: Path) -> None:
        self.files = files
        self.client = client
        self._folder = folder
        self._position = START
        self._fences = 0
        client.execute(
            f"CREATE KEYSPACE {FENCE.partition('.')[0]} "
            "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        client.execute(f"CREATE TABLE {FENCE} (id int PRIMARY KEY) WITH cdc = true")

    def run(self, seed: int, statements: int) -> Round:
        """Writes a keyspace of this seed and decodes it meanwhile."""
        rng = random.Random(seed)
        this = Round(f"live_{seed}")
        (self._folder / this.keyspace).mkdir(parents=True)
        maker = SchemaMaker(rng, this.keyspace, vectors=self.files.series == "5.0")
        for ddl in maker.create():
            self.client.execute(ddl)
        base = _micros()
        for number in range(PHASES):
            if number:
                self._change(maker, this)
            snapshot = self._folder / this.keyspace / f"{number:03d}.json"
            self._export(snapshot)
            this.phases.append(self._phase(rng, this.keyspace, snapshot, [base, _micros()], statements))
        this.sent, this.refused = self.client.sent, len(self.client.refused)
        return this

    def segments(self, phases: Sequence[Phase]) -> list[Path]:
        """The segments in which these phases lie."""
        first, last = (parse_segment_name(one.segment) for one in (phases[0].start, phases[-1].end))
        assert last is not None
        low = first.id if first is not None else 0
        named = [(parse_segment_name(path.name), path) for path in segment_paths(self.files.cdc_raw)]
        return [path for name, path in named if name is not None and low <= name.id <= last.id]

    def decoded(self, this: Round) -> list[ChangeBatch]:
        """All changes of a round's keyspace, read again with its last schema."""
        decoder = Decoder(load_schema(this.schema), lambda table: table.keyspace == this.keyspace)
        batches = [batch for path in self.segments(this.phases) for batch in decoder.read(path)]
        return [change for batch in batches for change in batch.tables]

    def followed(self, this: Round) -> list[bytes]:
        """The dump of a round's segments with its first schema alone: all changes of it are read from the log."""
        decoder = Decoder(load_schema(this.phases[0].schema), not_cassandras_own, follow=True)
        lines: list[bytes] = []
        for path in self.segments(this.phases):
            for batch in decoder.read(
                path, this.phases[0].start.offset if path.name == this.phases[0].start.segment else 0
            ):
                assert [str(one.error) for one in batch.damage] == []
                lines += [line.encode() for line in dump_lines(batch.tables)]
        return lines

    def _change(self, maker: SchemaMaker, this: Round) -> None:
        tables = [t for t in load_schema(this.schema) if t.keyspace == this.keyspace and not t.is_view]
        for ddl in maker.change([table for table in tables if not table.is_counter]):
            if self.client.define(ddl) and ddl.startswith("TRUNCATE"):
                this.truncated[ddl.removeprefix("TRUNCATE ")] = self._position

    def _export(self, snapshot: Path) -> None:
        """`schema export` from the node."""
        there = {"CDC_CASSANDRA_CONTACT_POINTS": ADDRESS, "CDC_CASSANDRA_PORT": str(self.files.cql_port)}
        command = [sys.executable, "-c", "from cdc_pipeline.cli import main; main()", "schema", "export", str(snapshot)]
        subprocess.run(command, check=True, timeout=60, env=os.environ | there)

    def _phase(self, rng: random.Random, keyspace: str, snapshot: Path, bases: list[int], statements: int) -> Phase:
        schema = load_schema(snapshot)
        self._fences += 1
        follower = Follower(self.files.cdc_raw, schema, self._position, self._fences)
        follower.start()
        self._write(rng, schema, keyspace, bases, statements)
        self.client.send(Statement(f"INSERT INTO {FENCE} (id) VALUES (?)", [int_bytes(self._fences)]))
        self.client.drain()
        start, self._position = self._position, follower.wait(_FENCE_SECONDS)
        return Phase(snapshot, start, self._position, follower.lines, follower.damage, follower.batches)

    def _write(self, rng: random.Random, schema: Schema, keyspace: str, bases: list[int], statements: int) -> None:
        tables = sorted((t for t in schema if t.keyspace == keyspace and not t.is_view), key=lambda table: table.name)
        maker = StatementMaker(rng, tables, bases)
        for _ in range(statements):
            self.client.send(maker.draw())
        self.client.drain()


def _micros() -> int:
    return time.time_ns() // 1000


__all__ = ["PHASES", "LiveNode", "Phase", "Round", "not_cassandras_own"]
