"""Whether a view equals a truth: the truth goes through the mask and the types, then text against text."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import psycopg

from cdc_pipeline.load.parity import Parity, TruthRow, masked_text
from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.postgres.types import MASKED, ValueType, value_type
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.schema import Column
from cdc_pipeline.transform import TableMasks
from cdc_pipeline.types import CqlType


def compare(
    connection: psycopg.Connection[Any], plan: TablePlan, masks: TableMasks, truth: Iterable[TruthRow], as_of: str
) -> Parity:
    """Compares a table's view with its truth at an instant (`as_of`, any text that PostgreSQL takes)."""
    shown = [column for column in plan.table.columns if column.name not in plan.excluded]
    fields = [_Field(plan, masks, column) for column in shown]
    with connection.transaction():
        connection.execute("SELECT set_config('cdc.as_of', %s, true)", (as_of,))
        columns = ", ".join(f"c{at} {field.type.sql}" for at, field in enumerate(fields))  # not theirs: one may be ctid
        execute_sql(connection, f"CREATE TEMPORARY TABLE cdc_truth ({columns})")
        with connection.cursor() as cursor, cursor.copy("COPY cdc_truth FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(HEADER)
            for row in truth:
                copy.write(len(fields).to_bytes(2, "big") + b"".join(field.encode(row) for field in fields))
            copy.write(TRAILER)
        listed = ", ".join(names.quoted(field.column.name) for field in fields)
        ours = ", ".join(f"c{at}" for at in range(len(fields)))
        wanted = _rows(connection, f"SELECT row({ours})::text FROM cdc_truth")
        found = _rows(connection, f"SELECT row({listed})::text FROM {plan.public}")
        connection.execute("DROP TABLE cdc_truth")
    return Parity.of(plan.table.full_name, wanted, found)


def _rows(connection: psycopg.Connection[Any], query: str) -> Counter[str]:
    return Counter(row[0] for row in execute_sql(connection, query).fetchall())


class _Field:
    """A column of the view, and how its truth is encoded."""

    def __init__(self, plan: TablePlan, masks: TableMasks, column: Column) -> None:
        self.column = column
        self._masker = masks.masker(column.name)
        planned = {c.column.name: c.type for c in plan.columns}
        kind = planned[column.name]
        if self._masker is not None:
            self.type: ValueType = MASKED
        else:
            self.type = kind if isinstance(kind, ValueType) else value_type(_frozen(column.type), plan.profile)

    def encode(self, row: TruthRow) -> bytes:
        """A COPY field: length and bytes."""
        raw = row.get(self.column.name)
        if raw is None or (not raw and self.type.empty_is_null):
            return b"\xff\xff\xff\xff"
        if self._masker is None:
            value = self.type.encode(raw)
        else:
            masked = masked_text(self._masker, self.column.type, raw)
            if masked is None:
                return b"\xff\xff\xff\xff"
            value = masked.encode()
        return len(value).to_bytes(4, "big") + value


def _frozen(kind: CqlType) -> CqlType:
    return dataclasses.replace(kind, multi_cell=False) if kind.multi_cell else kind  # type: ignore[type-var]
