"""Random keyspaces: types, tables, a view; and random changes of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from cdc_pipeline.schema import Table
from cdc_pipeline_tests.live.values import KEYABLE, NATIVE

_CHANGES = ("add", "add", "drop", "drop", "again", "rename", "field", "field-name", "cdc", "new", "gone", "truncate")


def quoted(name: str) -> str:
    """A name as CQL takes it."""
    return '"' + name.replace('"', '""') + '"'


class SchemaMaker:
    """Draws the DDL of one keyspace."""

    def __init__(self, rng: random.Random, keyspace: str, *, vectors: bool) -> None:
        self._rng = rng
        self._keyspace = keyspace
        self._vectors = vectors
        self._types: list[str] = []
        self._made = 0
        self._dropped: list[tuple[str, str, str]] = []
        self._first = ""

    def create(self) -> Iterator[str]:
        """The keyspace with everything in it."""
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        yield f"CREATE KEYSPACE {self._keyspace} WITH replication = {replication}"
        for _ in range(self._rng.randint(1, 2)):
            yield self._create_type()
        for number in range(self._rng.randint(2, 3)):
            yield self.create_table(wide=number == 0)
        if self._rng.random() < 0.5:
            yield self._counters()
        if self._rng.random() < 0.5:
            yield self._many_columns()
        if self._rng.random() < 0.6:
            yield from self._with_view()

    def create_table(self, *, wide: bool = False) -> str:
        """A table of some name that was not used before."""
        rng = self._rng
        partition = [(f"p{at}", self._key_type()) for at in range(rng.choice([1, 1, 2]))]
        depth = rng.choice([1, 2, 3] if wide else [0, 1, 1, 2])
        clustering = [(f"k{at}", self._key_type()) for at in range(depth)]
        static = [(f"s{at}", self._column_type()) for at in range(rng.choice([0, 1, 3]))] if clustering else []
        regular = [(name, self._column_type()) for name in self._names(rng.randint(2, 8))]
        columns = [f"{quoted(name)} {kind}" for name, kind in (*partition, *clustering, *regular)]
        columns += [f"{quoted(name)} {kind} static" for name, kind in static]
        key = ", ".join(["(" + ", ".join(name for name, _ in partition) + ")", *(name for name, _ in clustering)])
        cdc = "true" if wide or rng.random() < 0.85 else "false"
        order = ", ".join(f"{name} {rng.choice(['ASC', 'DESC'])}" for name, _ in clustering)
        options = ([f"CLUSTERING ORDER BY ({order})"] if order else []) + [f"cdc = {cdc}"]
        if rng.random() < 0.15:
            options.append("default_time_to_live = 864000")
        name = self._name("t")
        self._first = self._first or name  # stays, with its changes in the log
        return self._create(name, [*columns, f"PRIMARY KEY ({key})"], options)

    def change(self, tables: Sequence[Table]) -> Iterator[str]:
        """Some changes of what is there; Cassandra may refuse one."""
        for _ in range(self._rng.randint(2, 4)):
            yield self._change(self._rng.choice(tables))

    def _change(self, table: Table) -> str:
        rng = self._rng
        on = f"ALTER TABLE {self._keyspace}.{table.name}"
        match rng.choice(_CHANGES):
            case "add":
                static = " static" if table.clustering and rng.random() < 0.3 else ""
                return f"{on} ADD {self._name('a')} {self._column_type()}{static}"
            case "drop":
                column = rng.choice([*table.static, *table.regular])
                static = " static" if column in table.static else ""
                self._dropped.append((table.name, quoted(column.name), column.type.cql + static))
                return f"{on} DROP {quoted(column.name)}"
            case "again" if self._dropped:
                name, gone, kind = rng.choice(self._dropped)
                return f"ALTER TABLE {self._keyspace}.{name} ADD {gone} {kind}"
            case "rename" if table.clustering:
                return f"{on} RENAME {quoted(rng.choice(table.clustering).name)} TO {self._name('k')}"
            case "field-name":
                return f"ALTER TYPE {self._keyspace}.{rng.choice(self._types)} RENAME f0 TO {self._name('g')}"
            case "cdc" if table.name != self._first:
                return f"{on} WITH cdc = {'false' if table.cdc else 'true'}"
            case "truncate":
                return f"TRUNCATE {self._keyspace}.{table.name}"
            case "new":
                return self.create_table()
            case "gone" if table.name.startswith("t") and table.name != self._first:
                return f"DROP TABLE {self._keyspace}.{table.name}"
        return f"ALTER TYPE {self._keyspace}.{rng.choice(self._types)} ADD {self._name('g')} {self._frozen_type(1)}"

    def _create_type(self) -> str:
        fields = ", ".join(f"f{at} {self._frozen_type(1)}" for at in range(self._rng.randint(1, 4)))
        self._types.append(self._name("u"))
        return f"CREATE TYPE {self._keyspace}.{self._types[-1]} ({fields})"

    def _counters(self) -> str:
        columns = ["p0 int", "k0 text", "c0 counter", "c1 counter", "s0 counter static", "PRIMARY KEY (p0, k0)"]
        return self._create(self._name("counters"), columns, ["cdc = true"])

    def _many_columns(self) -> str:
        """More columns than a subset's 64 bits hold."""
        width = self._rng.choice([63, 64, 65, 80, 130])
        kinds = ["int", "text", "list<int>", "uuid", "map<text, int>", "double"]
        columns = [f"c{at:03d} {kinds[at % len(kinds)]}" for at in range(width)]
        return self._create(self._name("many"), ["p0 int", "k0 int", *columns, "PRIMARY KEY (p0, k0)"], ["cdc = true"])

    def _with_view(self) -> Iterator[str]:
        """A table with a view: its mutations stand in the log beside the view's."""
        name = self._name("base")
        columns = ["p0 int", "k0 text", "c0 int", f"c1 {self._column_type()}", "PRIMARY KEY (p0, k0)"]
        yield self._create(name, columns, ["cdc = true"])
        there = " AND ".join(f"{column} IS NOT NULL" for column in ("p0", "k0", "c0"))
        yield (
            f"CREATE MATERIALIZED VIEW {self._keyspace}.{name}_view AS SELECT * FROM {self._keyspace}.{name} "
            f"WHERE {there} PRIMARY KEY (c0, p0, k0)"
        )

    def _create(self, name: str, columns: Sequence[str], options: Sequence[str]) -> str:
        return f"CREATE TABLE {self._keyspace}.{name} ({', '.join(columns)}) WITH {' AND '.join(options)}"

    def _name(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}{self._made}"

    def _names(self, count: int) -> list[str]:
        """Regular columns, one of which may need quotes."""
        names = [f"c{at}" for at in range(count)]
        if self._rng.random() < 0.3:
            names[0] = self._rng.choice(["Mixed Case", 'quo"te', "Wert €", "select"])
        return names

    def _key_type(self) -> str:
        if self._rng.random() < 0.1:
            return self._rng.choice(["frozen<list<int>>", "frozen<set<text>>", "frozen<tuple<int, text>>"])
        return self._rng.choice(KEYABLE)

    def _frozen_type(self, depth: int = 0) -> str:
        rng = self._rng
        chance = rng.random()
        if depth > 1 or chance < 0.35:
            return rng.choice(NATIVE)
        if self._vectors and chance > 0.9:
            return f"vector<{rng.choice(['float', 'int', 'text', 'uuid', 'smallint'])}, {rng.randint(1, 4)}>"
        inner, key = self._frozen_type(depth + 1), rng.choice(KEYABLE)
        made = [f"frozen<list<{inner}>>", f"frozen<set<{key}>>", f"frozen<map<{key}, {inner}>>"]
        return rng.choice([*made, f"frozen<tuple<{inner}, {key}>>", *(f"frozen<{name}>" for name in self._types)])

    def _column_type(self) -> str:
        rng = self._rng
        chance = rng.random()
        if chance < 0.45:
            return rng.choice(NATIVE)
        if chance < 0.65:
            return self._frozen_type()
        inner, key = self._frozen_type(1), rng.choice(KEYABLE)
        return rng.choice([f"list<{inner}>", f"set<{key}>", f"map<{key}, {inner}>", *self._types])
