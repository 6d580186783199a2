"""What is known of an archived segment: a JSON file beside it, which stays a while after the segment has left."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cdc_pipeline.change import SegmentName, parse_segment_name
from cdc_pipeline.errors import CdcError

_CHUNK = 2**20

Method = Literal["link", "copy"]


@dataclass(frozen=True, slots=True)
class Digest:
    """A file's bytes: `size` and `sha256` of all, `content_size` and `content_sha256` without the zeros at its end.

    A plain segment is made at full size, so that the same content may come with tails of several lengths.
    """

    size: int
    sha256: str
    content_size: int
    content_sha256: str

    @classmethod
    def of(cls, path: Path, limit: int | None = None) -> Digest:
        """Of a file, or of its first `limit` bytes."""
        whole, content = hashlib.sha256(), hashlib.sha256()
        size = zeros = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK if limit is None else min(_CHUNK, limit - size)):
                whole.update(chunk)
                size += len(chunk)
                solid = chunk.rstrip(b"\0")
                if solid:
                    content.update(bytes(zeros))
                    content.update(solid)
                    zeros = 0
                zeros += len(chunk) - len(solid)
        return cls(size, whole.hexdigest(), size - zeros, content.hexdigest())


@dataclass(frozen=True)
class Contents:
    """What a segment holds: the first and the last logical position, mutations in all, partition updates by table
    (`keyspace.table`), damaged places, and mutations that the schema at hand does not know."""

    first_position: int
    last_position: int
    mutations: int = 0
    tables: Mapping[str, int] = field(default_factory=dict)
    damage: tuple[str, ...] = ()
    unknown: int = 0


@dataclass(frozen=True)
class Manifest:
    """A segment in the archive, or one that was there (`removed_at`). Times are Unix seconds.

    `passed_at` is when it was first seen that every lane had passed it: retention counts from there.
    """

    segment: str
    digest: Digest
    contents: Contents
    archived_at: float
    method: Method
    settled: bool = False
    passed_at: float | None = None
    removed_at: float | None = None

    @property
    def name(self) -> SegmentName:
        """Version and id."""
        name = parse_segment_name(self.segment)
        assert name is not None, self.segment
        return name

    @property
    def last_position(self) -> int:
        """The logical position behind the last section."""
        return self.contents.last_position

    @classmethod
    def beside(cls, segment: Path) -> Manifest | None:
        """The manifest of a segment's path; None when there is none. `CdcError` for one that cannot be read."""
        path = manifest_path(segment)
        try:
            return cls.from_json(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CdcError(f"{path}: expected a manifest of {segment.name}, found {type(error).__name__}") from None

    def write(self, folder: Path) -> None:
        """Into a folder, so that a reader finds the old one or this, also after a power cut."""
        path = manifest_path(folder / self.segment)
        part = path.with_name(f".{path.name}.part")
        with part.open("w") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(folder)

    def to_json(self) -> str:
        """One JSON object, its version and id among the rest for readers other than this one."""
        raw = dataclasses.asdict(self) | {"version": self.name.version, "id": self.name.id}
        return json.dumps(raw, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The inverse; `ValueError`, `KeyError` or `TypeError` when it is no manifest."""
        raw: dict[str, Any] = json.loads(text)
        contents = dict(raw["contents"], damage=tuple(raw["contents"]["damage"]))
        known = {name.name for name in dataclasses.fields(cls)} & raw.keys()
        kept = {name: raw[name] for name in known}
        found = cls(**kept | {"digest": Digest(**raw["digest"]), "contents": Contents(**contents)})
        if parse_segment_name(found.segment) is None:
            raise ValueError("no segment's name")
        return found


def manifest_path(segment: Path) -> Path:
    """`CommitLog-7-1.json` of `CommitLog-7-1.log`."""
    return segment.with_suffix(".json")


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
