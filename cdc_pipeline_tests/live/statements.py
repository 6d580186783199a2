"""Random statements on few keys, with timestamps that often tie."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cassandra.query import UNSET_VALUE  # type: ignore[import-untyped]

from cdc_pipeline.schema import Column, Table
from cdc_pipeline.types import CqlType, ListType, MapType, SetType, UserType
from cdc_pipeline_tests.live.schemas import quoted
from cdc_pipeline_tests.live.values import full_value, int_bytes, key_value, value
from cdc_pipeline_tests.types.values import counted, pairs

_TTLS = (1, 2, 3, 500_000, 500_000, 10 * 365 * 86400)
_KEYS, _ROWS = 2, 4


class Statement(NamedTuple):
    """CQL with `?`, and serialized values; None is null, `UNSET_VALUE` nothing."""

    cql: str
    values: Sequence[object] = ()


Piece = tuple[str, list[object]]
"""A part of a statement, and the values of its `?`."""


class Group(NamedTuple):
    """Statements of one batch."""

    kind: str
    statements: Sequence[Statement]


class StatementMaker:
    """Draws statements on some tables; `bases` (µs) are where the windows of client timestamps begin."""

    def __init__(self, rng: random.Random, tables: Sequence[Table], bases: Sequence[int]) -> None:
        self._rng = rng
        self._plain = [table for table in tables if not table.is_counter and not table.is_view]
        self._counters = [table for table in tables if table.is_counter]
        self._bases = bases

    def draw(self) -> Statement | Group:
        """One statement, or a batch of some."""
        rng = self._rng
        chance = rng.random()
        if self._counters and chance < 0.06:
            count = Group("COUNTER", [self._count(rng.choice(self._counters)) for _ in range(rng.randint(1, 3))])
            return count if rng.random() < 0.4 else count.statements[0]
        table = rng.choice(self._plain)
        if chance < 0.1:
            return self._conditional(table)
        if chance < 0.94:
            return self._write(table)
        some = [self._write(table if rng.random() < 0.5 else rng.choice(self._plain)) for _ in range(rng.randint(2, 8))]
        return Group(rng.choice(["LOGGED", "UNLOGGED"]), some)

    def _write(self, table: Table) -> Statement:
        makers: list[Callable[[Table], Statement]] = [self._insert, self._update, self._delete]
        return self._rng.choices(makers, [45, 35, 20])[0](table)

    def _insert(self, table: Table) -> Statement:
        rng = self._rng
        if table.static and rng.random() < 0.15:
            keys, chosen = self._key(table), self._some(table.static)
        else:
            keys = self._key(table) + self._clustering(table)
            chosen = self._some(table.regular) if rng.random() < 0.93 else []
            chosen += self._some(table.static) if rng.random() < 0.2 else []
        names = [quoted(column.name) for column, _ in keys] + [quoted(column.name) for column in chosen]
        drawn = [UNSET_VALUE if rng.random() < 0.05 else self._value(column.type) for column in chosen]
        using, more = self._using()
        marks = ", ".join("?" * len(names))
        cql = f"INSERT INTO {_name(table)} ({', '.join(names)}) VALUES ({marks}){using}"
        return Statement(cql, [*(one for _, one in keys), *drawn, *more])

    def _update(self, table: Table) -> Statement:
        static = bool(table.static) and self._rng.random() < 0.25
        columns = self._some(table.static if static else table.regular)
        using, more = self._using()
        pieces = [self._assignment(quoted(column.name), column.type) for column in columns]
        where, keys = _where(self._key(table) + ([] if static else self._clustering(table)))
        sets = ", ".join(text for text, _ in pieces)
        return Statement(f"UPDATE {_name(table)}{using} SET {sets} WHERE {where}", [*more, *_values(pieces), *keys])

    def _assignment(self, name: str, kind: CqlType) -> Piece:
        """A whole value, or an operation on a collection or on a field of a user type."""
        rng = self._rng
        if not kind.multi_cell or rng.random() < 0.35:
            return f"{name} = ?", [self._value(kind)]
        match kind:
            case MapType(key, entry):
                one, held = key_value(rng, key, _ROWS), full_value(rng, entry)
                added: Piece = (f"{name} = {name} + ?", [pairs(one, held)])
                removed: Piece = (f"{name} = {name} - ?", [counted(one)])
                put: Piece = (f"{name}[?] = ?", [one, rng.choice([held, None])])
                whole: Piece = (f"{name} = ?", [pairs(one, held)])
                return rng.choice([added, removed, put, whole])
            case SetType(element):
                text = rng.choice([f"{name} = {name} + ?", f"{name} = {name} - ?", f"{name} = ?"])
                return text, [counted(key_value(rng, element, _ROWS))]
            case ListType(element) if rng.random() < 0.1:
                return f"{name}[?] = ?", [int_bytes(0), self._value(element)]
            case ListType():
                text = rng.choice([f"{name} = {name} + ?", f"{name} = ? + {name}", f"{name} = {name} - ?"])
                return text, [value(rng, kind)]
            case UserType(field_names=names, field_types=kinds):
                at = rng.randrange(len(names))
                return f"{name}.{quoted(names[at])} = ?", [self._value(kinds[at])]
        raise AssertionError(kind)

    def _delete(self, table: Table) -> Statement:
        rng = self._rng
        using, more = self._using(expires=False)
        key, clustering = self._key(table), self._clustering(table)
        chance = rng.random()
        if chance < 0.3:
            static = bool(table.static) and rng.random() < 0.3
            pieces = [self._deleted(column) for column in self._some(table.static if static else table.regular)]
            where, keys = _where(key if static else key + clustering)
            what = ", ".join(text for text, _ in pieces)
            return Statement(
                f"DELETE {what} FROM {_name(table)}{using} WHERE {where}", [*_values(pieces), *more, *keys]
            )
        if chance < 0.55 or not clustering:
            where, keys = _where(key if clustering and rng.random() < 0.3 else key + clustering)
        else:
            where, keys = self._range(key, clustering)
        return Statement(f"DELETE FROM {_name(table)}{using} WHERE {where}", [*more, *keys])

    def _deleted(self, column: Column) -> Piece:
        rng = self._rng
        name = quoted(column.name)
        if column.type.multi_cell and rng.random() < 0.5:
            match column.type:
                case MapType(key) | SetType(key):
                    return f"{name}[?]", [key_value(rng, key, _ROWS)]
                case ListType() if rng.random() < 0.2:
                    return f"{name}[?]", [int_bytes(0)]
                case UserType(field_names=names):
                    return f"{name}.{quoted(rng.choice(names))}", []
        return name, []

    def _range(self, key: list[tuple[Column, bytes]], clustering: list[tuple[Column, bytes]]) -> Piece:
        rng = self._rng
        prefix = rng.randrange(len(clustering))
        where, keys = _where(key + clustering[:prefix])
        column = clustering[prefix][0]
        for sign in rng.choice(
            [(), (">",), (">=",), ("<",), ("<=",), (">", "<"), (">=", "<="), (">", "<="), (">=", "<")]
        ):
            where += f" AND {quoted(column.name)} {sign} ?"
            keys.append(key_value(rng, column.type, _ROWS))
        return where, keys

    def _conditional(self, table: Table) -> Statement:
        """Of a condition the timestamp is the server's."""
        rng = self._rng
        keys = self._key(table) + self._clustering(table)
        if rng.random() < 0.5:
            names = ", ".join(quoted(column.name) for column, _ in keys)
            marks = ", ".join("?" * len(keys))
            return Statement(
                f"INSERT INTO {_name(table)} ({names}) VALUES ({marks}) IF NOT EXISTS", [v for _, v in keys]
            )
        where, values = _where(keys)
        return Statement(f"DELETE FROM {_name(table)} WHERE {where} IF EXISTS", values)

    def _count(self, table: Table) -> Statement:
        rng = self._rng
        static = bool(table.static) and rng.random() < 0.3
        column = rng.choice(table.static if static else table.regular)
        where, keys = _where(self._key(table) + ([] if static else self._clustering(table)))
        name = quoted(column.name)
        by = rng.choice([1, -1, 5, 2**40, -(2**40)])
        return Statement(f"UPDATE {_name(table)} SET {name} = {name} + ? WHERE {where}", [struct.pack(">q", by), *keys])

    def _using(self, *, expires: bool = True) -> Piece:
        rng = self._rng
        pieces: list[Piece] = []
        if rng.random() < 0.9:
            pieces.append(("TIMESTAMP ?", [struct.pack(">q", rng.choice(self._bases) + rng.randint(0, 30))]))
        if expires and rng.random() < 0.12:
            pieces.append(("TTL ?", [int_bytes(rng.choice(_TTLS))]))
        return (f" USING {' AND '.join(text for text, _ in pieces)}" if pieces else ""), _values(pieces)

    def _key(self, table: Table) -> list[tuple[Column, bytes]]:
        return [(column, key_value(self._rng, column.type, _KEYS)) for column in table.partition_key]

    def _clustering(self, table: Table) -> list[tuple[Column, bytes]]:
        return [(column, key_value(self._rng, column.type, _ROWS)) for column in table.clustering]

    def _some(self, columns: Sequence[Column]) -> list[Column]:
        counts = [1, 1, 2, len(columns), len(columns) - 1]
        return self._rng.sample(columns, min(len(columns), max(1, self._rng.choice(counts)))) if columns else []

    def _value(self, kind: CqlType) -> bytes | None:
        return None if self._rng.random() < 0.1 else value(self._rng, kind)


def _name(table: Table) -> str:
    return f"{table.keyspace}.{table.name}"


def _where(keys: Sequence[tuple[Column, bytes]]) -> Piece:
    return " AND ".join(f"{quoted(column.name)} = ?" for column, _ in keys), [one for _, one in keys]


def _values(pieces: Sequence[Piece]) -> list[object]:
    return [one for _, values in pieces for one in values]
