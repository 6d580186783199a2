"""A throw-away Cassandra node with CDC on: its own folder, free loopback ports, nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_pipeline_tests.live.jars import NEWEST, jars, jdk_for_node

ADDRESS = "127.0.0.1"
SYNC_MILLIS = 100
_START_SECONDS = 180
_STOP_SECONDS = 90

_OPENED = """
java.management: javax.management sun.management
java.management.rmi: com.sun.jmx.remote.internal.rmi
java.rmi: sun.rmi.registry sun.rmi.server sun.rmi.transport sun.rmi.transport.tcp
java.sql: java.sql
java.logging: java.util.logging
java.desktop: com.sun.beans.introspect
jdk.attach: sun.tools.attach
jdk.compiler: com.sun.tools.javac.file
jdk.jconsole: sun.tools.jconsole
jdk.management: com.sun.management.internal
jdk.naming.dns: com.sun.jndi.dns
jdk.unsupported: sun.misc
"""

_LOGBACK = """<configuration><appender name="F" class="ch.qos.logback.core.FileAppender"><file>{file}</file>
<encoder><pattern>%-5level %date %F:%L %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="F"/></root></configuration>
"""


@functools.cache
def opened_packages(java: Path) -> tuple[str, ...]:
    """Arguments that open the JDK's packages to Cassandra, which reaches into them; those of java.base all."""
    said = subprocess.run(
        [java, "--describe-module", "java.base"], capture_output=True, text=True, timeout=60, check=True
    )
    kinds = ("exports ", "qualified exports ", "contains ")
    base = [
        line.removeprefix(kind).split()[0]
        for line in said.stdout.splitlines()
        for kind in kinds
        if line.startswith(kind)
    ]
    places = [f"java.base/{package}" for package in base]
    module = ""
    for word in _OPENED.split():
        if word.endswith(":"):
            module = word[:-1]
        else:
            places.append(f"{module}/{word}")
    return tuple(f"--add-{how}={place}=ALL-UNNAMED" for place in places for how in ("opens", "exports"))


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class NodeFiles:
    """The folder of a node, written before it starts."""

    series: str
    folder: Path
    settings: Mapping[str, Any]
    cql_port: int
    storage_port: int

    @property
    def cdc_raw(self) -> Path:
        """`cdc_raw_directory`."""
        return self.folder / "cdc_raw"

    def write(self) -> None:
        """Makes the folders, `cassandra.yaml` (JSON is YAML) and `logback.xml`."""
        for name in ("data", "commitlog", "saved", "hints", "cdc_raw", "tmp"):
            (self.folder / name).mkdir()
        (self.folder / "cassandra.yaml").write_text(json.dumps(self._yaml(), indent=1))
        (self.folder / "logback.xml").write_text(_LOGBACK.format(file=self.folder / "system.log"))

    def properties(self) -> list[str]:
        """Arguments of the JVM."""
        return [
            f"-Dcassandra.config=file://{self.folder}/cassandra.yaml",
            f"-Dlogback.configurationFile={self.folder}/logback.xml",
            f"-Dcassandra.storagedir={self.folder}",
            f"-Djava.io.tmpdir={self.folder}/tmp",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.superuser_setup_delay_ms=-1",
        ]

    def _yaml(self) -> dict[str, Any]:
        seeds = {"seeds": f"{ADDRESS}:{self.storage_port}"}
        return {
            "cluster_name": "live",
            "num_tokens": 1,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [{"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [seeds]}],
            "listen_address": ADDRESS,
            "rpc_address": ADDRESS,
            "storage_port": self.storage_port,
            "ssl_storage_port": free_port(),
            "native_transport_port": self.cql_port,
            "start_native_transport": True,
            "data_file_directories": [f"{self.folder}/data"],
            "commitlog_directory": f"{self.folder}/commitlog",
            "saved_caches_directory": f"{self.folder}/saved",
            "hints_directory": f"{self.folder}/hints",
            "cdc_raw_directory": f"{self.folder}/cdc_raw",
            "cdc_enabled": True,
            "commitlog_sync": "periodic",
            "auto_snapshot": False,
            **_sizes(self.series),
            **self.settings,
        }


def _sizes(series: str) -> dict[str, Any]:
    """4.1 put units into the values, which stood in the names before."""
    if series == "4.0":
        return {
            "commitlog_sync_period_in_ms": SYNC_MILLIS,
            "commitlog_segment_size_in_mb": 1,
            "commitlog_total_space_in_mb": 64,
            "memtable_heap_space_in_mb": 96,
            "memtable_offheap_space_in_mb": 96,
            "key_cache_size_in_mb": 0,
            "counter_cache_size_in_mb": 0,
            "enable_materialized_views": True,
        }
    return {
        "commitlog_sync_period": f"{SYNC_MILLIS}ms",
        "commitlog_segment_size": "1MiB",
        "commitlog_total_space": "64MiB",
        "memtable_heap_space": "96MiB",
        "memtable_offheap_space": "96MiB",
        "key_cache_size": "0MiB",
        "counter_cache_size": "0MiB",
        "materialized_views_enabled": True,
    }


def node_files(series: str, folder: Path, settings: Mapping[str, Any]) -> NodeFiles:
    """The files of a node on free ports, written."""
    files = NodeFiles(series, folder, settings, free_port(), free_port())
    files.write()
    return files


def answers(port: int) -> bool:
    """Whether something listens on a port."""
    try:
        socket.create_connection((ADDRESS, port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running_node(files: NodeFiles) -> Iterator[NodeFiles]:
    """Runs the daemon from its jars until the end of the block; `RuntimeError` with its log when it does not start."""
    log = files.folder / "out.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*_with_its_parent(), *_command(files)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            cwd=files.folder,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(files.cql_port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Cassandra {files.series}: expected to listen, found: {log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield files
    finally:
        _stop(process)


def _command(files: NodeFiles) -> list[str]:
    jdk = jdk_for_node(files.series)
    found = sorted(jars(NEWEST[files.series]).glob("*.jar"))
    (agent,) = [jar for jar in found if jar.name.startswith("jamm-")]
    return [
        str(jdk.java),
        *("-Xms768m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        f"-javaagent:{agent}",
        *files.properties(),
        *("-Dcassandra-foreground=yes", "-Djdk.attach.allowAttachSelf=true"),
        "-Dio.netty.tryReflectionSetAccessible=true",
        *(("-Djava.security.manager=allow",) if jdk.release >= 17 else ()),
        *opened_packages(jdk.java),
        *("-cp", os.pathsep.join(map(str, found)), "org.apache.cassandra.service.CassandraDaemon"),
    ]


def _with_its_parent() -> list[str]:
    """Ends the node when the tests are killed, where util-linux knows how."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv is not None else []


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(_STOP_SECONDS)
