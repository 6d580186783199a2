"""What to start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """What to start: `packages` is the folder that holds chDB's package; `timeout` in seconds."""

    directory: str
    packages: str
    fast: bool
    timeout: float
