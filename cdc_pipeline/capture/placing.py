"""A finished segment's bytes into the archive: a hard link, or a copy where the kernel or the place allows none."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from cdc_pipeline.capture.manifest import Digest, Method, sync_folder
from cdc_pipeline.errors import CdcError

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
"""Another file system; `fs.protected_hardlinks` and another user's file; too many links; none here at all."""

Step = Callable[[str], None]
"""Called between two steps with the name of the one that is done."""


class Relation(Enum):
    """How a file's content relates to an archived one's."""

    SAME = "the same"
    CONTAINED = "contained in it"
    GROWN = "more than it"
    DIFFERENT = "another"


def place(source: Path, target: Path, step: Step) -> Method:
    """Puts a file's bytes at `target`, all of them or nothing, durable when this returns. May be repeated.

    `CdcError` when what arrived is not what was there; `OSError` when the archive cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    method: Method = "link"
    try:
        try:
            os.link(source, part)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            method = "copy"
            shutil.copyfile(source, part)
            shutil.copystat(source, part)
        step("placed")
        _sync_file(part)
        _verify(source, part, method)
        step("verified")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)
    return method


def can_link(source: Path, folder: Path) -> str | None:
    """None when a file can be linked into a folder, else why not; tried, and taken back."""
    probe = folder / f".{source.name}.probe"
    try:
        probe.unlink(missing_ok=True)
        os.link(source, probe)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return "the archive is on another file system"
        if error.errno == errno.EPERM:
            return "the kernel forbids links to files of another user (fs.protected_hardlinks)"
        return error.strerror or "links are refused"
    probe.unlink()
    return None


def relation(source: Path, target: Path) -> Relation:
    """How the content of `source` relates to that of `target`; zeros at the end do not count."""
    if source.samefile(target):
        return Relation.SAME
    one, other = Digest.of(source), Digest.of(target)
    if one.content_sha256 == other.content_sha256:
        return Relation.SAME
    if one.content_size < other.content_size:
        start = Digest.of(target, one.content_size)
        return Relation.CONTAINED if start.sha256 == one.content_sha256 else Relation.DIFFERENT
    start = Digest.of(source, other.content_size)
    return Relation.GROWN if start.sha256 == other.content_sha256 else Relation.DIFFERENT


def _verify(source: Path, part: Path, method: Method) -> None:
    one, other = source.stat(), part.stat()
    if method == "link":
        same = (one.st_dev, one.st_ino, one.st_size) == (other.st_dev, other.st_ino, other.st_size)
    else:
        same = Digest.of(source) == Digest.of(part)
    if not same:
        raise CdcError(f"segment {source.name}: expected a {method} with the same bytes in the archive, found others")


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
