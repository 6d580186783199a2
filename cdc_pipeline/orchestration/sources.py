"""What lies outside: Cassandra's tables and its commit log. Observed by the sensors, never materialized."""

from __future__ import annotations

import dagster as dg

from cdc_pipeline.orchestration import names
from cdc_pipeline.orchestration.catalog import Catalog
from cdc_pipeline.orchestration.columns import source_columns
from cdc_pipeline.orchestration.options import Options


def source_specs(catalog: Catalog, options: Options) -> list[dg.AssetSpec]:
    """`cdc/commitlog` and each selected Cassandra table, refused ones included."""
    log = dg.AssetSpec(
        names.COMMITLOG,
        description="The CDC commit-log segments, a partition per Cassandra node.",
        partitions_def=catalog.shards,
        group_name="cassandra",
        owners=options.owners,
        kinds={"cassandra", "file"},
    )
    return [log, *(_table(catalog, name, options) for name in sorted(catalog.masks))]


def _table(catalog: Catalog, name: str, options: Options) -> dg.AssetSpec:
    refusals = {d: catalog.refused[f"{d}/{name}"] for d in catalog.plans if f"{d}/{name}" in catalog.refused}
    description = "".join(f"Not loaded into {destination}: {why}.\n\n" for destination, why in refusals.items())
    return dg.AssetSpec(
        names.cassandra_key(name),
        description=f"Cassandra's table {name}.\n\n{description}".strip(),
        metadata={"dagster/column_schema": source_columns(catalog.masks[name])},
        group_name="cassandra",
        owners=options.owners,
        kinds={"cassandra"},
    )
