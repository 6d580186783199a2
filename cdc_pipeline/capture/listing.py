"""Segment files named on a command line, or lying in directories named there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cdc_pipeline.change import parse_segment_name
from cdc_pipeline.errors import ConfigurationError


def segment_files(paths: Iterable[Path]) -> list[Path]:
    """The files as given, a directory's segments by id. `ConfigurationError` for a path that is not there."""
    files: list[Path] = []
    for path in paths:
        try:
            found = list(path.iterdir()) if path.is_dir() else [path]
            if not path.is_dir():
                path.stat()
        except OSError as error:
            raise ConfigurationError(
                f"expected a segment or a directory, found: {error.strerror}", where=str(path)
            ) from None
        if path.is_dir():
            named = [(parse_segment_name(file.name), file) for file in found]
            found = [file for name, file in sorted((n.id, f) for n, f in named if n is not None)]
        files += found
    return files
