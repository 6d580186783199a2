"""Cassandra's jars, by Maven, and the JDKs of this machine."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEWEST = {"4.0": "4.0.19", "4.1": "4.1.10", "5.0": "5.0.6"}
"""The release that is run, by its series."""

_POM = Path(__file__).with_name("pom.xml")
_MAVEN_SECONDS = 600
_JVM_FOLDERS = (Path("/usr/lib/jvm"), Path("/opt/java"), Path("/Library/Java/JavaVirtualMachines"))


@dataclass(frozen=True, order=True)
class Jdk:
    """An installed JDK: its feature release (17) and its home."""

    release: int
    home: Path

    @property
    def java(self) -> Path:
        """The launcher."""
        return self.home / "bin" / "java"

    @property
    def javac(self) -> Path:
        """The compiler."""
        return self.home / "bin" / "javac"


def cache() -> Path:
    """The folder that keeps what Maven brought, outside of the repository."""
    named = os.environ.get("CDC_LIVE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(named) if named else base / "cdc_pipeline" / "live"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


@functools.cache
def jars(release: str) -> Path:
    """The folder of `cassandra-all` and everything it needs; Maven is asked once for each release."""
    folder = cache() / f"cassandra-{release}"
    with (cache() / f"cassandra-{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            what = ["dependency:copy-dependencies", f"-Dcassandra.version={release}", f"-DoutputDirectory={part}"]
            command = ["mvn", "-q", "-B", "-f", str(_POM), *what]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_SECONDS, check=False)
            if done.returncode:
                raise RuntimeError(f"mvn: expected the jars of Cassandra {release}, found: {done.stdout[-2000:]}")
            part.rename(folder)
    return folder


@functools.cache
def jdks() -> tuple[Jdk, ...]:
    """The JDKs of this machine, the oldest first."""
    found = {jdk.home.resolve(): jdk for home in _homes() if (jdk := _jdk(home)) is not None}
    return tuple(sorted(found.values()))


def jdk_for_node(series: str) -> Jdk:
    """What a node of a series runs on: 5.0 on JDK 17 or 11, the others on 11, else 17 with its packages opened."""
    fitting = [jdk for jdk in jdks() if jdk.release in (11, 17)]
    if not fitting:
        raise RuntimeError(
            f"JDK: expected release 11 or 17, found {[jdk.release for jdk in jdks()]}; see CDC_LIVE_JAVA"
        )
    return fitting[-1] if series == "5.0" else fitting[0]


def _homes() -> Iterator[Path]:
    for named in os.environ.get("CDC_LIVE_JAVA", "").split(os.pathsep):
        if named:
            yield Path(named)
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    if (java := shutil.which("java")) is not None:
        yield Path(java).resolve().parents[1]
    for folder in _JVM_FOLDERS:
        for home in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield home / "Contents" / "Home" if sys.platform == "darwin" else home


def _jdk(home: Path) -> Jdk | None:
    try:
        said = (home / "release").read_text()
    except OSError:
        return None
    version = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', said)
    jdk = Jdk(int(version[1]), home) if version else None
    return jdk if jdk is not None and jdk.java.is_file() and jdk.javac.is_file() else None
