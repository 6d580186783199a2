"""A view against a truth: the truth goes through the mask and the types into a table of its own, then text against
text of whole rows."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa

from cdc_pipeline.errors import ValueOutOfRange
from cdc_pipeline.load.clickhouse import view
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.plan import TablePlan
from cdc_pipeline.load.clickhouse.types import MASKED, ValueType, as_one_value, value_type
from cdc_pipeline.load.parity import Parity, TruthRow, masked_text
from cdc_pipeline.schema import Column
from cdc_pipeline.transform import TableMasks
from cdc_pipeline.types import Scalar

_AT_ONCE = 10_000


def as_of_setting(as_of: str) -> dict[str, str]:
    """What has every view of a query answer as of an instant (ISO 8601; without a zone: UTC)."""
    at = dt.datetime.fromisoformat(as_of)
    seconds = (at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)).timestamp()
    return {"log_comment": f"{view.AS_OF}{int(seconds // 1)}"}


def compare(
    connection: Connection,
    options: ClickHouseOptions,
    plan: TablePlan,
    masks: TableMasks,
    truth: Iterable[TruthRow],
    as_of: str,
) -> Parity:
    """Compares a table's view with its truth at an instant."""
    fields = [_Field(plan, masks, column) for column in plan.table.columns if column.name not in plan.excluded]
    table = f"{quoted(options.state_database)}.{quoted(f'truth_{uuid.uuid4().hex}')}"
    columns = ", ".join(f"c{at} {field.sql}" for at, field in enumerate(fields))
    connection.run(f"CREATE TABLE {table} ({columns}) ENGINE = Memory")
    try:
        for rows in _batches(truth):
            data = {
                f"c{at}": field.typed([row.get(field.column.name) for row in rows]) for at, field in enumerate(fields)
            }
            connection.insert(table, pa.table(data))
        ours = ", ".join(f"c{at}" for at in range(len(fields)))
        shown = ", ".join(quoted(field.column.name) for field in fields)
        wanted = _rows(connection, f"SELECT toString(tuple({ours})) FROM {table}", {})
        found = _rows(connection, f"SELECT toString(tuple({shown})) FROM {plan.public}", as_of_setting(as_of))
    finally:
        connection.run(f"DROP TABLE {table}")
    return Parity.of(plan.table.full_name, wanted, found)


def _rows(connection: Connection, query: str, settings: dict[str, str]) -> Counter[str]:
    return Counter(row[0] for row in connection.rows(query, settings=settings))


def _batches(truth: Iterable[TruthRow]) -> Iterable[list[TruthRow]]:
    rows: list[TruthRow] = []
    for row in truth:
        rows.append(row)
        if len(rows) == _AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


class _Field:
    """A column of the view, and how its truth is typed."""

    def __init__(self, plan: TablePlan, masks: TableMasks, column: Column) -> None:
        self.column = column
        self._masker = masks.masker(column.name)
        (planned,) = (one for one in plan.columns if one.column == column)
        alone = bool(plan.static) and column in plan.table.clustering and planned.type is not None
        self.sql = planned.type.public if alone and planned.type is not None else planned.sql
        kind = planned.type
        if self._masker is not None:
            self.type: ValueType = MASKED
        elif kind is None:
            self.type = value_type(Scalar("bigint"), plan.profile)
        else:
            self.type = kind if isinstance(kind, ValueType) else as_one_value(column.type, plan.profile)

    def typed(self, raw: Sequence[bytes | None]) -> pa.Array:
        """The values as the view has them; `ValueOutOfRange` for one that the type does not hold."""
        if self._masker is not None:
            texts = [None if one is None else masked_text(self._masker, self.column.type, one) for one in raw]
            raw = [None if text is None else text.encode() for text in texts]
        found = self.type.scalar.typed(pa.array(raw, pa.binary()))
        for why in found.unfit.values():
            raise ValueOutOfRange(self.column.name, self.column.type.cql, self.sql, why)
        return found.values
