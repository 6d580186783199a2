"""`archive`, `decode --follow`, and what `run`, `status` and `check` say of the archive and the CDC space."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdc_pipeline.decode import SegmentFile
from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.recordings import Recording

SOURCE = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}}


def with_archive(shell: Shell, **more: object) -> Shell:
    """The shell with an archive and every segment finished."""
    shell.configure(source=SOURCE | {"archive": {"directory": "archive", "retention": "0s"}} | more)
    for index in (shell.folder / "cdc_raw").glob("*_cdc.idx"):
        index.write_text(index.read_text().split()[0] + "\nCOMPLETED")
    return shell


def raw(shell: Shell) -> dict[str, tuple[int, int]]:
    """The files of `cdc_raw` with inode and time of change."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (shell.folder / "cdc_raw").iterdir()}


def finished(shell: Shell) -> list[str]:
    """The segments that have an index."""
    return sorted(path.name.replace("_cdc.idx", ".log") for path in (shell.folder / "cdc_raw").glob("*_cdc.idx"))


@contextmanager
def running(shell: Shell, *arguments: str, stdout: Path = Path(os.devnull)) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own, ended by Ctrl-C."""
    script = Path(sys.executable).with_name("cdc-pipeline")
    with (
        stdout.open("wb") as out,
        subprocess.Popen([script, *arguments], cwd=shell.folder, stdout=out, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until something is so, at most half a minute."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_without_an_archive_nothing_is_touched(loaded: Shell) -> None:
    """run, status, check and Dagster's twin of them leave `cdc_raw` as it is; sweep says what it needs."""
    before = raw(loaded)
    for command in (["run", "--once"], ["status"], ["check"], ["backfill", "--all"]):
        assert loaded(*command).code == 0
    answer = loaded("archive", "sweep")
    assert answer.code == 2
    assert "source.archive: expected a directory for finished segments, found none" in answer.err
    assert raw(loaded) == before


def test_from_cdc_raw_to_the_archive_and_out(loaded: Shell) -> None:
    """Swept before they are read, read from the archive, and removed once every lane has passed them."""
    with_archive(loaded)
    names = finished(loaded)
    swept = loaded("archive", "sweep", "--json")
    assert (swept.code, swept.err) == (0, "")
    assert swept.records[0]["segments"] == dict.fromkeys(names, "archived")
    assert finished(loaded) == []
    listed = loaded("archive", "list", "--json")
    assert [(one["segment"], one["state"]) for one in listed.records] == [
        (name, "needed by warehouse/node1") for name in names
    ]
    assert sum(one["mutations"] for one in listed.records) > 2000
    assert sum(one["tables"].get("tombs.up", 0) for one in listed.records) > 100
    assert loaded("archive", "prune", "--json").records[0]["removed"] == []
    run = loaded("run", "--once", "--json")
    assert (run.code, run.records[0]["backlog_bytes"]) == (0, 0)
    assert loaded("archive", "verify", "--json").records == [{"shard": "node1", "segments": len(names), "problems": []}]
    pruned = loaded("archive", "prune", "--json").records[0]
    assert (pruned["removed"], pruned["held_by"]) == (names, {})
    assert list((loaded.folder / "archive" / "node1").glob("*.log")) == []
    assert all(one["state"].startswith("removed") for one in loaded("archive", "list", "--json").records)
    assert loaded("status").code == 0


def test_people_get_tables(loaded: Shell) -> None:
    """Each verb shows its table."""
    with_archive(loaded)
    assert "archived" in loaded("archive", "sweep").out
    assert "needed by warehouse/node1" in loaded("archive", "list").out
    assert "problems" in loaded("archive", "verify").out
    assert "warehouse/node1" in loaded("archive", "prune").out


def test_verify_ends_with_1(loaded: Shell) -> None:
    """A changed byte in the archive."""
    with_archive(loaded)
    name = finished(loaded)[0]
    loaded("archive", "sweep")
    path = loaded.folder / "archive" / "node1" / name
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    answer = loaded("archive", "verify")
    assert answer.code == 1
    assert f"segment {name}: expected SHA-256" in answer.err


def test_run_moves_what_is_finished(loaded: Shell) -> None:
    """A `run` that goes on empties `cdc_raw` of finished segments while it loads, and loads all of them."""
    with_archive(loaded)
    names = finished(loaded)
    with running(loaded, "run", "--json") as process:
        wait_for(lambda: finished(loaded) == [])
        wait_for(lambda: loaded("status", "--json").records[0]["backlog_bytes"] == 0)
    assert process.returncode == 0
    assert sorted(path.name for path in (loaded.folder / "archive" / "node1").glob("*.log")) == names
    assert loaded("status", "--json").records[0]["events_processed"] > 2000


def test_follow_prints_what_becomes_durable(shell: Shell, open_recording: Callable[[str], Recording]) -> None:
    """`decode --follow` prints what is there and then what comes, until Ctrl-C; exit code 0."""
    wanted = open_recording("tombstones-5.0").main.oracle_lines()
    segment = max(shell.segments, key=lambda path: path.with_name(f"{path.stem}_cdc.idx").exists())
    index = segment.with_name(f"{segment.stem}_cdc.idx")
    whole = index.read_text()
    with SegmentFile(segment) as file:
        ends = [one.logical_end for one in file.sections()]
    index.write_text(str(ends[len(ends) // 2]))
    shown = shell.folder / "shown"

    def lines() -> list[bytes]:
        return shown.read_bytes().split(b"\n")[:-1]

    with running(shell, "decode", "cdc_raw", "--schema", "schema.json", "--follow", stdout=shown) as process:
        wait_for(lambda: len(lines()) > 5)
        before = lines()
        assert before == wanted[: len(before)]
        assert len(before) < len(wanted)
        index.write_text(whole)
        wait_for(lambda: len(lines()) >= len(wanted))
    assert lines() == wanted
    assert process.returncode == 0


@pytest.mark.parametrize("paths", [["cdc_raw", "cdc_raw"], ["schema.json"], ["nowhere"]])
def test_follow_takes_one_directory(shell: Shell, paths: list[str]) -> None:
    """Anything else is wrong usage."""
    answer = shell("decode", *paths, "--schema", "schema.json", "--follow")
    assert answer.code == 2
    assert "expected one directory with --follow" in answer.err


def archive_finding(shell: Shell) -> tuple[str, str]:
    """What `check` says of the archive: state and message."""
    (found,) = [one for one in shell("check", "--json").records if one["what"] == "archive node1"]
    return found["state"], found["message"]


def test_check_says_link(loaded: Shell) -> None:
    """On one file system, as the files' owner: by hard link."""
    with_archive(loaded)
    state, message = archive_finding(loaded)
    assert state == "ok"
    assert message.startswith("finished segments will be linked; ")
    assert list((loaded.folder / "archive" / "node1").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EXDEV, "the archive is on another file system"),
        (errno.EPERM, "the kernel forbids links to files of another user (fs.protected_hardlinks)"),
    ],
)
def test_check_says_copy(loaded: Shell, monkeypatch: pytest.MonkeyPatch, code: int, why: str) -> None:
    """Where no link can be made: by copy, why, and what room there is."""
    with_archive(loaded)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    state, message = archive_finding(loaded)
    assert state == "ok"
    assert message.startswith(f"finished segments will be copied: {why}; ")
    assert "MiB free" in message


def test_check_without_the_right(loaded: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that cannot be made, and a `cdc_raw` from which nothing may be removed, fail now."""
    with_archive(loaded)
    (loaded.folder / "archive").write_text("a file")
    state, message = archive_finding(loaded)
    assert state == "failed"
    assert "expected the right to make it, found: " in message
    (loaded.folder / "archive").unlink()
    access = os.access
    forbidden = loaded.folder / "cdc_raw"
    monkeypatch.setattr(os, "access", lambda path, mode: path != forbidden and access(path, mode))
    state, message = archive_finding(loaded)
    assert (state, message) == (
        "failed",
        f"expected the right to add and remove files in {forbidden}, found none",
    )


@pytest.mark.parametrize(("total", "state"), [("1GiB", "ok"), ("2100KiB", "warning"), ("1MiB", "failed")])
def test_the_cdc_space(loaded: Shell, total: str, state: str) -> None:
    """check and status warn of a space that is nearly full, and of one that is."""
    source = SOURCE | {"shards": {"node1": {"directory": "cdc_raw", "cdc_total_space": total}}}
    for path in (loaded.folder / "cdc_raw").iterdir():
        path.unlink()
    (loaded.folder / "cdc_raw" / "CommitLog-7-5.log").write_bytes(bytes(400 * 1024))
    (loaded.folder / "cdc_raw" / "more").write_bytes(bytes(1300 * 1024))
    loaded.configure(source=source)
    (found,) = [one for one in loaded("check", "--json").records if one["what"] == "CDC space node1"]
    assert found["state"] == state
    assert "1.7 of" in found["message"]
    (health,) = loaded("health", "node1", "--json").records
    assert health["up"] is (state != "failed")
    assert "CDC space: 1.7 of" in health["message"]
    status = loaded("status", "--json")
    assert status.code == (state != "ok")
    assert status.records[0]["cdc_space_used_bytes"] == 1700 * 1024
    assert status.records[0]["cdc_space"] == {"ok": "ok", "warning": "warning", "failed": "full"}[state]


def test_possible_loss(loaded: Shell) -> None:
    """Where Cassandra deletes what nobody has read, ids that were never seen are told by status and check."""
    loaded("run", "--once")
    segment = loaded.segments[0]
    number = int(segment.stem.split("-")[2])
    for path in (loaded.folder / "cdc_raw").iterdir():
        path.unlink()
    later = segment.with_name(f"CommitLog-7-{number + 10}.log")
    later.write_bytes(b"")
    later.with_name(f"{later.stem}_cdc.idx").write_text("0")
    later.with_name(f"{later.stem}_cdc.idx").write_text("100")
    loaded.configure(source=SOURCE | {"shards": {"node1": {"directory": "cdc_raw", "cdc_block_writes": False}}})
    status = loaded("status")
    assert status.code == 1
    assert f"possible loss: segment ids {number + 1} to {number + 9} were never seen" in status.err
    assert "possible loss" in loaded("check").out
    shutil.rmtree(loaded.folder / "cdc_raw")
