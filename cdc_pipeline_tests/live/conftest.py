"""Nodes for the live tests: one for each series and set of settings, while its tests run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline_tests.live.client import Client
from cdc_pipeline_tests.live.docker import docker_answers, running_container
from cdc_pipeline_tests.live.node import node_files, running_node
from cdc_pipeline_tests.live.rounds import LiveNode

_FIRST_SEED = int(os.environ.get("CDC_LIVE_SEED") or random.SystemRandom().randrange(10**6))
_ROUNDS = int(os.environ.get("CDC_LIVE_ROUNDS") or 1)
_COMPRESSORS = (None, "LZ4Compressor", "SnappyCompressor", "DeflateCompressor")
_NEWER_COMPRESSORS = (*_COMPRESSORS, "ZstdCompressor")


def pytest_report_header() -> str:
    """Says how to repeat this run."""
    return f"live: CDC_LIVE_SEED={_FIRST_SEED} CDC_LIVE_ROUNDS={_ROUNDS}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of rounds runs once for each seed."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(_FIRST_SEED, _FIRST_SEED + _ROUNDS))


@pytest.fixture(scope="session", params=["5.0", "5.0-v8", "4.1", "4.0"])
def node(request: pytest.FixtureRequest) -> Iterator[LiveNode]:
    """A node of a series; `-v8` has segments of version 8. Its compression is drawn from the seed."""
    series, _, newest = request.param.partition("-")
    rng = random.Random(f"{_FIRST_SEED} {request.param}")
    settings: dict[str, Any] = {"storage_compatibility_mode": "NONE"} if newest else {}
    compressor = rng.choice(_COMPRESSORS if series == "4.0" else _NEWER_COMPRESSORS)
    if compressor is not None:
        settings["commitlog_compression"] = [{"class_name": compressor}]
    with running(series, settings) as live:
        yield live


@contextlib.contextmanager
def running(series: str, settings: dict[str, Any]) -> Iterator[LiveNode]:
    """A node in a folder of its own, in a container where Docker answers; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-tests-cassandra-"))
    try:
        (folder / "node").mkdir()
        files = node_files(series, folder / "node", settings)
        start = running_container if docker_answers() else running_node
        with start(files), Client(files.cql_port) as client:
            yield LiveNode(files, client, folder / "rounds")
    finally:
        shutil.rmtree(folder)
