"""What `check` looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `state` is ok, warning or failed."""

    what: str
    state: str
    message: str
