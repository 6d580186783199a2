"""A node that is killed while it writes, and starts again; its log is followed, and swept away, all the while."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from cdc_pipeline.archivist import Archivist
from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.capture.archive import Outcome, ShardArchive
from cdc_pipeline.change import START
from cdc_pipeline.decode import Decoder
from cdc_pipeline.following import LogReader
from cdc_pipeline.schema import Schema
from cdc_pipeline.schema.cluster import read_cluster
from cdc_pipeline_tests.live.client import Client
from cdc_pipeline_tests.live.node import ADDRESS, NodeFiles, node_files, running_node
from cdc_pipeline_tests.live.statements import Statement
from cdc_pipeline_tests.types.values import int_bytes

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SECONDS = 8.0
INSERT = "INSERT INTO ks.t (id, v) VALUES (?, ?)"


class Follower:
    """Follows a node's log in one thread and sweeps it in another until it is left."""

    def __init__(self, files: NodeFiles, schema: Schema) -> None:
        self.source = ShardLog("live", files.cdc_raw, files.folder / "archive")
        self.archive = ShardArchive(files.folder / "archive")
        self.ids: Counter[int] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.told: list[str] = []
        self.late: list[float] = []
        self._schema = schema
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._follow, self._sweep)]

    def __enter__(self) -> Follower:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, ids: int) -> None:
        """Until so many rows came, at most half a minute."""
        ends = time.monotonic() + 30
        while len(self.ids) < ids and time.monotonic() < ends:
            time.sleep(0.05)

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:
            self.told.append(repr(error))

    def _follow(self) -> None:
        decoder = Decoder(self._schema, lambda table: table.keyspace == "ks")
        position = START
        with (
            watching(self.source) as changes,
            contextlib.closing(LogReader(self.source, decoder, self.told.append)) as log,
        ):
            while not self._stop.is_set():
                for batch in log.new(position):
                    position = batch.position
                    self.told += [str(one.error) for one in batch.damage]
                    self._count(batch.tables)
                    with contextlib.suppress(FileNotFoundError):  # swept meanwhile
                        index = self.source.directory / batch.segment.replace(".log", "_cdc.idx")
                        self.late.append(time.time() - index.stat().st_mtime)
                changes.wait(self._stop)

    def _count(self, tables: Sequence[Any]) -> None:
        for table in tables:
            self.ids.update(int.from_bytes(key, "big") for key in table.rows.column("key0").to_pylist())

    def _sweep(self) -> None:
        archivist = Archivist(self.source, self.archive, self._schema, None)
        while not self._stop.wait(0.2):
            swept = archivist.sweep()
            self.told += swept.problems
            self.outcomes.update(taken.outcome for taken in swept.taken)


def write(client: Client, first: int) -> int:
    """Rows for some seconds; the number of the next."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        for _ in range(20):
            client.send(Statement(INSERT, (int_bytes(first), b"x" * 600)))
            first += 1
        time.sleep(0.01)
    return first


def kill(files: NodeFiles) -> None:
    """As `kill -9`."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if f"-Dcassandra.storagedir={files.folder}" in process.cmdline():
                os.kill(process.pid, signal.SIGKILL)
                process.wait(30)


@contextlib.contextmanager
def following(files: NodeFiles, client: Client) -> Iterator[Follower]:
    """A follower of a table that is made for it."""
    client.define("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    client.define("CREATE TABLE ks.t (id int PRIMARY KEY, v text) WITH cdc = true")
    with Follower(files, read_cluster([ADDRESS], files.cql_port, None, None)) as follower:
        yield follower


@pytest.mark.parametrize(
    ("series", "compressor"), [("5.0", None), ("4.1", "LZ4Compressor"), ("4.0", "SnappyCompressor")]
)
def test_killed_and_started_again(tmp_path: Path, series: str, compressor: str | None) -> None:
    """What the node answers in the end is what was decoded, each row once; what replay brought back was known."""
    settings = {"commitlog_compression": [{"class_name": compressor}]} if compressor is not None else {}
    files = node_files(series, tmp_path, settings)
    with contextlib.ExitStack() as stack:
        with running_node(files), Client(files.cql_port) as client:
            follower = stack.enter_context(following(files, client))
            number = write(client, 0)
            client.drain()
            kill(files)
        with running_node(files), Client(files.cql_port) as client:
            write(client, number)
            client.drain()
            answered = {int.from_bytes(row[0] or b"", "big") for row in client.select("ks.t", ["id"])}
            follower.wait_for(len(answered))
    assert follower.told == []
    assert set(follower.ids) == answered
    assert len(answered) > 3000
    assert set(follower.ids.values()) == {1}
    assert follower.outcomes[Outcome.RETURNED] > 0
    assert set(follower.outcomes) == {Outcome.ARCHIVED, Outcome.RETURNED}
    assert [follower.archive.verify(manifest) for manifest in follower.archive.manifests()] == [None] * len(
        follower.archive.manifests()
    )
    assert sorted(follower.late)[len(follower.late) // 2] < 0.05
