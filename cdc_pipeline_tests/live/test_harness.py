"""What the live tests judge by, without a node: it can fail, and it finds what it should."""

from __future__ import annotations

import random
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.types import ListType, Scalar, TupleType, to_json
from cdc_pipeline_tests.live import oracle
from cdc_pipeline_tests.live.docker import docker_answers
from cdc_pipeline_tests.live.jars import Jdk
from cdc_pipeline_tests.live.statements import Group, Statement, StatementMaker
from cdc_pipeline_tests.live.truth import merged
from cdc_pipeline_tests.live.values import NATIVE, key_value, value
from cdc_pipeline_tests.load.changes import Cell, Change, context, table
from cdc_pipeline_tests.types.values import int_bytes, rank

ONE = b'{"segment":"CommitLog-7-5.log","position":70,"json":0.5}'
TWO = b'{"segment":"CommitLog-7-5.log","position":90,"json":1.17549435E-38}'
SHORTER = TWO.replace(b"1.17549435E-38", b"1.1754944E-38")
EVERYTHING = table(
    key=[("a", "int"), ("b", "text")],
    clustering=[("c", "timestamp"), ("d", "frozen<list<int>> desc")],
    static=[("s", "map<text, int>")],
    regular=[("l", "list<text>"), ("m", "map<int, text>"), ("t", "set<uuid>"), ("u", "name"), ("v", "double")],
)


def jdk(monkeypatch: pytest.MonkeyPatch, release: int) -> None:
    """Pretends that this is the newest JDK."""
    monkeypatch.setattr(oracle, "jdks", lambda: (Jdk(release, Path("nowhere")),))


@pytest.mark.parametrize("other", [[ONE], [TWO, ONE], [ONE, TWO, TWO], [ONE, TWO.replace(b"90", b"91")], []])
@pytest.mark.parametrize("release", [17, 21])
def test_differences(monkeypatch: pytest.MonkeyPatch, other: list[bytes], release: int) -> None:
    """A line too few, too many, elsewhere or changed is a difference on every JDK."""
    jdk(monkeypatch, release)
    assert not list(oracle.differences([ONE, TWO], [ONE, TWO]))
    assert list(oracle.differences([ONE, TWO], other))


def test_needless_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits of a float that only Java before 19 prints are none, for a reader that runs there."""
    jdk(monkeypatch, 17)
    assert not list(oracle.differences([SHORTER], [TWO]))
    assert list(oracle.differences([SHORTER], [TWO.replace(b"9435E", b"9535E")]))
    jdk(monkeypatch, 19)
    assert list(oracle.differences([SHORTER], [TWO]))


def test_between() -> None:
    """The first position is behind the start, the last one is the end."""
    name = "CommitLog-7-5.log"
    assert oracle.between([ONE, TWO], Position(name, 70), Position(name, 90)) == [TWO]
    assert oracle.between([ONE, TWO], Position("CommitLog-7-4.log", 99), Position(name, 70)) == [ONE]


def test_statements_of_a_seed() -> None:
    """The same seed draws the same statements, of every kind."""

    def draw(seed: int) -> list[Statement | Group]:
        maker = StatementMaker(random.Random(seed), [EVERYTHING], [1000, 2000])
        return [maker.draw() for _ in range(600)]

    drawn = draw(5)
    assert drawn == draw(5) != draw(6)
    texts = [one.cql for one in drawn if isinstance(one, Statement)]
    for part in ("INSERT", "UPDATE", "DELETE FROM", " IF ", "TTL ?", "[?] = ?", " - ?", "? + ", '"u"."', " >= ?"):
        assert any(part in text for text in texts), part
    assert {one.kind for one in drawn if isinstance(one, Group)} == {"LOGGED", "UNLOGGED"}
    assert all(one.cql.count("?") == len(one.values) for one in drawn if isinstance(one, Statement))


@pytest.mark.parametrize("name", NATIVE)
def test_values(name: str) -> None:
    """Values of every type are ones that its printer reads, alone and inside; keys differ when their bytes do."""
    rng = random.Random(name)
    for kind in (Scalar(name), ListType(Scalar(name)), TupleType((Scalar(name), Scalar("int")))):
        assert all(to_json(kind)(value(rng, kind)) for _ in range(200))
    if name != "duration":
        keys = {key_value(rng, Scalar(name), 4) for _ in range(100)}
        assert len({repr(rank(Scalar(name), key)) for key in keys}) == len(keys) <= 4
        assert b"" not in keys


def test_counters() -> None:
    """Of a shard the greatest clock counts, whatever came last; the shards are added up."""
    counters = table(regular=[("n", "counter")])
    versions = [context((1, 2, 30), (2, 1, -4)), context((1, 1, 10))]
    for order in (versions, versions[::-1]):
        changes = [Change((int_bytes(1),), cells=(Cell("n", ts, one),)) for ts, one in enumerate(order)]
        (row,) = merged(counters, changes)
        assert row["n"] == (26).to_bytes(8, "big")


class _Daemon(socketserver.StreamRequestHandler):
    """Answers a ping as Docker does."""

    def handle(self) -> None:
        asked = self.rfile.readline()
        status = b"200 OK" if asked.startswith(b"GET /_ping ") else b"404 Not Found"
        self.wfile.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nOK")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """A socket on which something answers."""
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), _Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_docker_answers(daemon: Path, tmp_path: Path) -> None:
    """A daemon that answers is found; a socket that is not there, or a file, is none."""
    assert docker_answers(daemon)
    assert not docker_answers(tmp_path / "none.sock")
    (tmp_path / "file").write_bytes(b"")
    assert not docker_answers(tmp_path / "file")
