"""Column schemas and lineage as Dagster shows them: names, types, keys and masks."""

from __future__ import annotations

from typing import Any

import dagster as dg

from cdc_pipeline.load import TableSummary
from cdc_pipeline.orchestration.names import cassandra_key
from cdc_pipeline.transform import MaskingStrategy, TableMasks

_TAGS = {MaskingStrategy.PII_HASH: ("pii", "hashed"), MaskingStrategy.PHI_TOKENIZE: ("phi", "tokenized")}
_KEYS = ("partition_key", "clustering")


def source_columns(masks: TableMasks) -> dg.TableSchema:
    """The columns of a Cassandra table; `pii` and `phi` mark those that leave masked."""
    columns = []
    for column in masks.table.columns:
        strategy = masks.decisions[column.name].strategy
        tags = {_TAGS[strategy][0]: ""} if strategy in _TAGS else {}
        columns.append(_column(column.name, column.type.cql, str(column.kind), tags))
    return dg.TableSchema(columns)


def destination_metadata(summary: TableSummary) -> dict[str, Any]:
    """Schema and lineage of a destination's table, masked columns included; excluded ones are not there."""
    loaded = [column for column in summary.columns if column.target_type != "not loaded"]
    upstream = cassandra_key(summary.table)
    schema = [
        _column(
            column.name,
            column.target_type,
            f"{column.kind}, {column.cql_type} in Cassandra" + (f", {column.mask}" if column.mask != "-" else ""),
            dict([_TAGS[MaskingStrategy(column.mask)]]) if column.mask != "-" else {},
            column.kind,
        )
        for column in loaded
    ]
    lineage = {column.name: [dg.TableColumnDep(upstream, column.name)] for column in loaded}
    return {
        "dagster/column_schema": dg.TableSchema(schema),
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
    }


def _column(name: str, kind: str, description: str, tags: dict[str, str], role: str | None = None) -> dg.TableColumn:
    is_key = (role or description) in _KEYS
    constraints = dg.TableColumnConstraints(nullable=not is_key)
    return dg.TableColumn(name, kind, description=description, constraints=constraints, tags=tags)
