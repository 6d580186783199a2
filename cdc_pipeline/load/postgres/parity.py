"""Whether a view equals a truth, row by row: the truth goes through the mask and the types, then text against text.

The truth is rows of serialized values, as a recording's `expected/*.raw.jsonl` holds them: `null` is no value, `0x`
zero bytes, a collection its frozen form.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from cdc_pipeline.load.postgres import names
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.postgres.types import MASKED, ValueType, value_type
from cdc_pipeline.load.postgres.write import execute_sql
from cdc_pipeline.schema import Column
from cdc_pipeline.transform import Masker, TableMasks, mask_input
from cdc_pipeline.types import (
    CqlType,
    ListType,
    MapType,
    SetType,
    UserType,
    field_label,
    json_string,
    map_key_json,
    part_json,
    split_collection,
)

TruthRow = Mapping[str, bytes | None]


@dataclasses.dataclass(frozen=True)
class Parity:
    """Rows of a table: equal ones, those only in the truth and only in the destination (as the view's row text)."""

    table: str
    equal: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def expected(self) -> int:
        """Rows of the truth."""
        return self.equal + len(self.missing)

    @property
    def holds(self) -> bool:
        """Whether both are the same."""
        return not self.missing and not self.extra


def read_truth(path: Path) -> Iterator[TruthRow]:
    """The rows of a `.raw.jsonl` file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {name: None if text is None else bytes.fromhex(text[2:]) for name, text in row.items()}


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
    missing, extra = wanted - found, found - wanted
    return Parity(
        plan.table.full_name,
        (wanted & found).total(),
        tuple(sorted(missing.elements())),
        tuple(sorted(extra.elements())),
    )


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


def masked_text(masker: Masker, kind: CqlType, raw: bytes) -> str | None:
    """A masked value as its view shows it; a non-frozen column is JSON of masked parts."""
    if not kind.multi_cell:
        return _mask_one(masker, kind, raw)
    parts = split_collection(kind, raw)

    def quoted(part_type: CqlType, part: bytes | None) -> str:
        text = None if part is None else _mask_one(masker, part_type, part)
        return "null" if text is None else json_string(text)

    if isinstance(kind, MapType):
        key = part_json(kind.key)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return "{" + ", ".join(f"{map_key_json(key(k or b''))}: {quoted(kind.value, v)}" for k, v in pairs) + "}"
    if isinstance(kind, UserType):
        parts = [*parts, *[None] * (len(kind.field_types) - len(parts))]
        pairs_of = zip(kind.field_names, kind.field_types, parts, strict=True)
        labels = ((field_label(n), t, p) for n, t, p in pairs_of)
        return "{" + ", ".join(f"{label}: {quoted(t, p)}" for label, t, p in labels) + "}"
    assert isinstance(kind, ListType | SetType)
    texts = [quoted(kind.element, part) for part in parts]
    return "[" + ", ".join(sorted(texts) if isinstance(kind, SetType) else texts) + "]"


def _mask_one(masker: Masker, kind: CqlType, raw: bytes) -> str | None:
    text = mask_input(kind)(raw)
    return masker.mask([text])[0] if text is not None else None
