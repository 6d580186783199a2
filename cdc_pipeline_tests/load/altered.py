"""User types that are altered: what was loaded before is shown with the fields as they are named now."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from cdc_pipeline.schema import Column, Table
from cdc_pipeline.transform import MaskingPolicy, TableMasks
from cdc_pipeline.types import CqlType, parse_type
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.types.values import fields, int_bytes

OLD = {"name": (("first", "last"), ("text", "int"))}
NEW = {"name": (("given", "last", "title"), ("text", "int", "text"))}
COLUMNS = {
    "frozen": "frozen<name>",
    "listed": "list<frozen<name>>",
    "mapped": "map<text, frozen<name>>",
    "nested": "frozen<map<int, frozen<name>>>",
    "parts": "name",
}
VALUE = fields(b"Ada", int_bytes(36))
PATH = bytes.fromhex("00000001000010008000000000000001")


def altered(of: Table, user_types: Any = NEW) -> Table:
    """The table behind ALTER TYPE."""

    def newer(column: Column) -> Column:
        kind: CqlType = parse_type(COLUMNS.get(column.name, column.type.cql), "ks", user_types)
        return dataclasses.replace(column, type=kind)

    return dataclasses.replace(of, columns=tuple(map(newer, of.columns)), version=of.version + 1)


T = altered(table("t", regular=list(COLUMNS.items())), OLD)


def row(number: int, ts: int = 5) -> Change:
    """A row with the value in every column."""
    cells = (
        Cell("frozen", ts, VALUE),
        Cell("listed", ts, VALUE, PATH),
        Cell("mapped", ts, VALUE, b"a: b"),
        Cell("nested", ts, int_bytes(1) + int_bytes(4) + int_bytes(7) + int_bytes(len(VALUE)) + VALUE),
        Cell("parts", ts, b"Ada", b"\x00\x00"),
    )
    return Change((int_bytes(number),), cells=cells, live=ts)


def prepare(destination: Destination, of: Table) -> None:
    """What a lane does where the type is altered."""
    destination.sink.prepare([(of, TableMasks(MaskingPolicy(destination.rules, None), of))])


def shown(destination: Destination, schema: str = "ks") -> list[dict[str, Any]]:
    """What users see, by row."""
    names = sorted(COLUMNS)
    found = destination.query(f"SELECT {', '.join(names)} FROM {schema}.t ORDER BY pk")
    return [
        {name: json.loads(value) if isinstance(value, str) else value for name, value in zip(names, row, strict=True)}
        for row in found
    ]


def expected(**names: Any) -> dict[str, Any]:
    """A row with these fields."""
    return {
        "frozen": names,
        "listed": [names],
        "mapped": {"a: b": names},
        "nested": {"7": names},
        "parts": {name: value if value == "Ada" else None for name, value in names.items()},
    }


class AlteredTypes:
    """Inherit, and give the fixture `destination`, prepared for `T`."""

    def shown(self, destination: Destination) -> list[dict[str, Any]]:
        """What users see, by row."""
        return shown(destination)

    def test_renamed_and_added(self, destination: Destination) -> None:
        """Rows of before, and late ones that are read with the type of before, show the fields as they are now."""
        destination.load(batch(T, [row(1)]))
        assert self.shown(destination) == [expected(first="Ada", last=36)]
        prepare(destination, altered(T))
        now = expected(given="Ada", last=36, title=None)
        assert self.shown(destination) == [now]
        destination.load(batch(T, [row(2), row(1, ts=4)]))
        assert self.shown(destination) == [now, now]

    def test_null_and_deleted(self, destination: Destination) -> None:
        """What is not there stays so."""
        cells = tuple(Cell(name, 5, None) for name in ("frozen", "nested"))
        destination.load(batch(T, [Change((int_bytes(1),), cells=cells, live=5)]))
        prepare(destination, altered(T))
        assert self.shown(destination) == [dict.fromkeys(COLUMNS)]

    def test_renamed_and_back(self, destination: Destination) -> None:
        """A name that is given back is shown again."""
        destination.load(batch(T, [row(1)]))
        newer = altered(T)
        prepare(destination, newer)
        prepare(destination, altered(newer, OLD))
        assert self.shown(destination) == [expected(first="Ada", last=36)]
