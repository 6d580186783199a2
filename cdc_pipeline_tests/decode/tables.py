"""Tables for the decoder's tests, and the short way from segment bytes to what they say."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cdc_pipeline.change import Damage
from cdc_pipeline.decode import DecodedBatch, Decoder, KeyProvider, dump_lines
from cdc_pipeline.errors import EntryError
from cdc_pipeline.schema import Column, ColumnKind, DroppedColumn, Schema, Table
from cdc_pipeline.types import CqlType, parse_type
from cdc_pipeline_tests.decode import encoder as en

Spec = Sequence[tuple[str, str]]

USER_TYPES = {"name": (("first", "last", "age"), ("text", "text", "int"))}


def cql(text: str) -> CqlType:
    """A type of keyspace `ks`, which has the user type `name`."""
    return parse_type(text, "ks", USER_TYPES)


def make_table(
    name: str = "t",
    *,
    key: Spec = (("pk", "int"),),
    clustering: Spec = (("ck", "text"),),
    static: Spec = (),
    regular: Spec = (("v", "text"),),
    dropped: Sequence[tuple[str, str, int]] = (),
    table_id: uuid.UUID | None = None,
    **more: Any,
) -> Table:
    """A table of keyspace `ks`; `dropped` are (name, type, µs)."""
    kinds = (
        (ColumnKind.PARTITION_KEY, key),
        (ColumnKind.CLUSTERING, clustering),
        (ColumnKind.STATIC, static),
        (ColumnKind.REGULAR, regular),
    )
    columns = (
        Column(c, kind, cql(type_), i if kind in (ColumnKind.PARTITION_KEY, ColumnKind.CLUSTERING) else -1)
        for kind, spec in kinds
        for i, (c, type_) in enumerate(spec)
    )
    return Table(
        keyspace="ks",
        name=name,
        id=table_id or uuid.uuid5(uuid.NAMESPACE_OID, name),
        columns=tuple(columns),
        dropped=tuple(DroppedColumn(c, ColumnKind.REGULAR, cql(type_), micros) for c, type_, micros in dropped),
        **{"cdc": True, **more},
    )


T = make_table(
    static=[("s", "text")],
    regular=[("m", "map<text, int>"), ("v", "text")],
    table_id=uuid.UUID("11111111-2222-1333-8444-555555555555"),
)
"""The table of the format document's section 9."""

KEY = en.number(1, 4)
"""Its partition key, pk = 1."""

NOW = 1700000000
MICROS = NOW * 1_000_000


def insert(value: bytes = b"hello", ck: bytes = b"a", *, at: int = MICROS, table: Table = T) -> bytes:
    """The mutation of an INSERT of one text into `v`."""
    row = en.row(en.clustering([ck]), [en.cell(value)], live=en.Liveness(at))
    return en.mutation(en.update(table.id.bytes, KEY, [row], columns=["v"]))


def every_table(_: Table) -> bool:
    """Wants all tables."""
    return True


def read(
    path: Path,
    *tables: Table,
    keys: KeyProvider | None = None,
    after: int = 0,
    until: int | None = None,
    **limits: int,
) -> list[DecodedBatch]:
    """The batches of a segment file."""
    decoder = Decoder(Schema(tables or (T,)), every_table, keys=keys, **limits)
    return list(decoder.read(path, after, until))


def decode(folder: Path, *mutations: bytes, tables: Sequence[Table] = (T,), version: int = 7) -> list[DecodedBatch]:
    """The batches of a plain segment with these mutations in one section."""
    data = en.segment([b"".join(map(en.entry, mutations))], version=version)
    return read(en.write(folder, data, version=version), *tables)


def only_line(batches: Sequence[DecodedBatch]) -> dict[str, Any]:
    """The one line of a dump without damage."""
    assert [str(one.error) for one in damage(batches)] == []
    (line,) = lines(batches)
    return line


def lines(batches: Sequence[DecodedBatch]) -> list[dict[str, Any]]:
    """The dump of the batches, parsed."""
    return [json.loads(line) for batch in batches for line in dump_lines(batch.tables)]


def damage(batches: Sequence[DecodedBatch]) -> list[Damage]:
    """What was damaged in all batches."""
    return [one for batch in batches for one in batch.damage]


def values(batches: Sequence[DecodedBatch]) -> list[str]:
    """The values of all cells in order."""
    return [cell["json"] for line in lines(batches) for row in line["rows"] for cell in row["cells"]]


def t_update(*rows: bytes, **more: Any) -> bytes:
    """An update of `T`."""
    return en.update(T.id.bytes, KEY, rows, **more)


def malformed(folder: Path, mutation: bytes, message: str) -> None:
    """Says that a mutation gives one EntryError with this message, nothing else, and that the next one is read."""
    batches = decode(folder, insert(b"before"), mutation, insert(b"after"), tables=[T])
    assert values(batches) == ["before", "after"]
    (found,) = damage(batches)
    assert isinstance(found.error, EntryError)
    assert found.kind == "entry"
    assert message in found.error.what
    assert (found.size, batches[-1].mutations) == (len(mutation), 2)
    start = 28 + len(en.entry(insert(b"before"))) + 8
    assert start <= found.error.offset <= start + len(mutation)
