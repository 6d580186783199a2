"""How ops get at the project: each run opens its own, so that it reads the schema of its time."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_pipeline.config import Settings
from cdc_pipeline.observability.metrics import Metrics
from cdc_pipeline.project import Project


@dataclass(frozen=True)
class Projects:
    """Settings and metrics; nothing is started or connected before `open`."""

    settings: Settings
    metrics: Metrics

    @classmethod
    def of(cls, source: Project | Settings) -> Projects:
        """Of a project, whose metrics go on counting, or of settings."""
        if isinstance(source, Project):
            return cls(source.settings, source.metrics)
        return cls(source, Metrics())

    def open(self) -> Project:
        """A project of one's own, to be closed: a context manager."""
        return Project(self.settings, self.metrics)
