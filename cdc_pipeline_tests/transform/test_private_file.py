from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.private_file import read_private, write_private


def test_round_trip(tmp_path: Path) -> None:
    """What is written has mode 0600, whatever the umask, and is read again."""
    path = tmp_path / "keys.json"
    before = os.umask(0o277)
    try:
        write_private(path, "text\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path) == "text\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601, 0o620])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    """A file that group or others may use is refused, with the expected mode and the one found."""
    path = tmp_path / "keys.json"
    path.write_text("{}")
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"keys.json: expected mode 0600, found 0{mode:o}"):
        read_private(path)


def test_unreadable(tmp_path: Path) -> None:
    """A missing file, a directory, a pipe and bytes that are not UTF-8 are named, and none of them hangs."""
    pipe, other = tmp_path / "pipe", tmp_path / "latin"
    os.mkfifo(pipe, 0o600)
    other.write_bytes(b"\xe9")
    other.chmod(0o600)
    expected = {
        tmp_path / "none": "no such file",
        tmp_path: "expected a regular file",
        pipe: "expected a regular file",
        other: "expected UTF-8",
    }
    for path, message in expected.items():
        with pytest.raises(ConfigurationError, match=message) as caught:
            read_private(path)
        assert caught.value.where == str(path)
        assert caught.value.__context__ is None


def test_never_overwritten(tmp_path: Path) -> None:
    """An existing file keeps its content, a dangling link is not followed, a missing folder is named."""
    path, link = tmp_path / "keys.json", tmp_path / "link"
    path.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")
    for existing in (path, link):
        with pytest.raises(ConfigurationError, match="exists already, and is never overwritten"):
            write_private(existing, "new")
    with pytest.raises(ConfigurationError, match="no such file"):
        write_private(tmp_path / "none" / "keys.json", "new")
    assert path.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no half a file behind."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="no space left"):
        write_private(tmp_path / "keys.json", "new")
    assert not (tmp_path / "keys.json").exists()
