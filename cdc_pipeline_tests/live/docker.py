"""The same node in a container, where Docker answers: image `cassandra`, the host's network, our user, our folder."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from cdc_pipeline_tests.live.jars import NEWEST
from cdc_pipeline_tests.live.node import NodeFiles, answers, free_port

_SOCKET = Path("/var/run/docker.sock")
_PING_SECONDS = 2.0
_START_SECONDS = 300


def docker_answers(path: Path = _SOCKET) -> bool:
    """Whether a Docker daemon answers a ping on this socket."""
    connection = http.client.HTTPConnection("localhost", timeout=_PING_SECONDS)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as link:
        link.settimeout(_PING_SECONDS)
        try:
            link.connect(str(path))
            connection.sock = link
            connection.request("GET", "/_ping")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


@contextlib.contextmanager
def running_container(files: NodeFiles) -> Iterator[NodeFiles]:
    """Runs the image until the end of the block; `RuntimeError` when it does not start."""
    from testcontainers.core.container import DockerContainer

    options = [*files.properties(), f"-Dcassandra.jmx.local.port={free_port()}"]
    container = (
        DockerContainer(f"cassandra:{NEWEST[files.series]}")
        .with_kwargs(network_mode="host", user=f"{os.getuid()}:{os.getgid()}")
        .with_volume_mapping(str(files.folder), str(files.folder), "rw")
        .with_env("JVM_EXTRA_OPTS", " ".join(options))
        .with_env("MAX_HEAP_SIZE", "768M")
        .with_env("HEAP_NEWSIZE", "200M")
    )
    with container:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(files.cql_port):
            if time.monotonic() > deadline:
                said = container.get_logs()[0].decode("utf-8", "replace")
                raise RuntimeError(f"Cassandra {files.series}: expected to listen, found: {said[-3000:]}")
            time.sleep(0.5)
        yield files
