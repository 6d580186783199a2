"""The archive's part of `run`: a thread that moves finished segments while the lanes load."""

from __future__ import annotations

import threading
import time

from cdc_pipeline.capture import space, watching
from cdc_pipeline.cli.output import Output
from cdc_pipeline.errors import CdcError
from cdc_pipeline.project import Project

_SWEEP_SECONDS = 5.0
_PRUNE_SECONDS = 600.0


class Keeper:
    """Looks after one shard: sweeps, prunes, and watches how full its CDC space is."""

    def __init__(self, project: Project, shard: str, out: Output) -> None:
        self._project = project
        self._shard = shard
        self._out = out
        self._told: set[str] = set()
        self._pressure = space.Pressure.OK
        self._prune_at = time.monotonic() + _PRUNE_SECONDS

    def run(self, asked: threading.Event) -> None:
        """Until asked to stop. What goes wrong is told once and tried again."""
        with watching(self._project.source(self._shard)) as changes:
            while not asked.is_set():
                self.look()
                if asked.wait(_SWEEP_SECONDS):
                    return
                changes.wait(asked)

    def look(self) -> None:
        """One round."""
        try:
            self._measure()
            if self._project.settings.source.archive is not None:
                self._archive()
        except CdcError as error:
            self._tell(str(error))
        except OSError as error:
            self._tell(f"shard {self._shard}: {error.strerror}")

    def _archive(self) -> None:
        swept = self._project.archivist(self._shard).sweep()
        for problem in swept.problems:
            self._tell(problem)
        self._project.metrics.moved(self._shard, sum(taken.freed > 0 for taken in swept.taken))
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + _PRUNE_SECONDS
            self._project.prune(self._shard)

    def _measure(self) -> None:
        found = space.look(self._project.source(self._shard).directory, self._project.limits(self._shard))
        self._project.metrics.space(
            self._shard, used=found.used, total=found.total, growth=found.growth, left=found.seconds_left
        )
        if found.pressure is not self._pressure and found.pressure is not space.Pressure.OK:
            self._out.message(f"shard {self._shard}: CDC space: {found.message}")
        self._pressure = found.pressure

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._out.message(message)
