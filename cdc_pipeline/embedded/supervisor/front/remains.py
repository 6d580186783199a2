"""What a DROP leaves: chDB takes tables out of sight and never deletes their files, so the next start does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_DROPPED = re.compile(r"\.([0-9a-f]{3})([0-9a-f]{5}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.sql$")


def delete_dropped(data: Path) -> None:
    """Delete the files of dropped tables, then the note of each, so that a killed one is taken up again."""
    for note in (data / "metadata_dropped").glob("*.sql"):
        if number := _DROPPED.search(note.name):
            shutil.rmtree(data / "store" / number[1] / (number[1] + number[2]), ignore_errors=True)
            note.unlink(missing_ok=True)
