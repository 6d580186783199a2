"""What is known when the code location loads: no connection is made, no server started."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from cdc_pipeline.config import ClusterSchema, Settings
from cdc_pipeline.load import TableSummary
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration.names import check_destination
from cdc_pipeline.orchestration.projects import Projects
from cdc_pipeline.project import Project
from cdc_pipeline.schema import Schema, schema_of
from cdc_pipeline.schema.cluster import read_rows
from cdc_pipeline.transform import TableMasks

_NO_SNAPSHOT = (
    "the schema is a cluster's and no snapshot of it is at hand: turn the schema sensor on (DAGSTER_HOME must be set), "
    "then reload this code location"
)


@dataclass(frozen=True)
class Catalog:
    """Shards, the selected tables, and what each destination makes of them (refused tables left out)."""

    settings: Settings
    masks: Mapping[str, TableMasks]
    plans: Mapping[str, tuple[TableSummary, ...]]
    refused: Mapping[str, str]
    note: str | None = None

    @property
    def shards(self) -> dg.StaticPartitionsDefinition:
        """The partitions: one per shard."""
        return dg.StaticPartitionsDefinition(list(self.settings.source.shards))

    @property
    def lanes(self) -> list[Lane]:
        """Destinations x shards."""
        return [Lane(d, s) for d in self.plans for s in self.settings.source.shards]


def read_catalog(projects: Projects) -> Catalog:
    """The catalog of a configuration; `ConfigurationError` and `SchemaError` as the project raises them."""
    with projects.open() as project:
        known = use_snapshot(project)
        plans, refused = {}, {}
        for destination in project.destinations():
            check_destination(destination)
            summaries = project.plan(destination)
            plans[destination] = tuple(s for s in summaries if s.refusal is None)
            refused.update({f"{destination}/{s.table}": s.refusal for s in summaries if s.refusal is not None})
        return Catalog(project.settings, dict(project.selected), plans, refused, None if known else _NO_SNAPSHOT)


def use_snapshot(project: Project) -> bool:
    """Lets a project with a cluster's schema use the snapshot, so that it does not connect; false without one."""
    source = project.settings.source.schema_source
    if not isinstance(source, ClusterSchema):
        return True
    path = snapshot_path(project.settings)
    known = path is not None and path.is_file()
    rows = json.loads(path.read_bytes()) if known and path is not None else None
    project.schema = schema_of(rows, str(path)) if rows is not None else Schema(())
    return known


def refresh_snapshot(project: Project) -> None:
    """Asks the cluster and keeps the answer; nothing to do for a schema file. `SchemaError` when it is down."""
    source = project.settings.source.schema_source
    if not isinstance(source, ClusterSchema):
        return
    password = source.password.reveal() if source.password is not None else None
    rows: dict[str, Any] = read_rows(source.contact_points, source.port, source.username, password)
    project.schema = schema_of(rows, f"cluster {source.contact_points[0]}")
    if path := snapshot_path(project.settings):
        written = path.with_suffix(".part")
        written.write_text(json.dumps(rows))
        written.replace(path)


def snapshot_path(settings: Settings) -> Path | None:
    """Where a cluster's schema is kept between loads; None without DAGSTER_HOME."""
    source = settings.source.schema_source
    home = os.environ.get("DAGSTER_HOME")
    if home is None or not isinstance(source, ClusterSchema):
        return None
    which = zlib.crc32(",".join(source.contact_points).encode())
    return Path(home) / f"cdc-schema-{which:08x}.json"
