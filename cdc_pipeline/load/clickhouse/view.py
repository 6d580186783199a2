"""The view of a table: exactly Cassandra's columns and rows.

The state is read whole, tuple by tuple, below a subquery: an element of a tuple read under `FINAL` comes from any of
the versions of a row (ClickHouse issues 61161, 110028). Where a server fails the canary in spite of that, rows are put
together by `GROUP BY` (`merged=False`).
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_pipeline.load.clickhouse import ddl
from cdc_pipeline.load.clickhouse.ddl import DELETED, LAST, LASTING, LIVE, PASSING, SIGN, TOMBSTONE
from cdc_pipeline.load.clickhouse.names import literal, quoted
from cdc_pipeline.load.clickhouse.plan import CLUSTERING, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.clickhouse.types import CellsType, ValueType, counters

AS_OF = "cdc_as_of="
"""How a query's setting `log_comment` begins that has the views answer as of a time (s since 1970): settings of our own
would have to be allowed in a server's configuration."""

_COMMENT = "getSetting('log_comment')"
NOW = (
    f"toUInt64(if(startsWith({_COMMENT}, '{AS_OF}'), "
    f"toInt64OrZero(substring({_COMMENT}, {len(AS_OF) + 1})), toInt64(toUnixTimestamp(now()))))"
)
"""The clock (s) that hides expired cells."""

_RANK = f"({NOW} + 1) * {1 << 31} AS now"
"""The least rank that is not over."""


Numbered = list[tuple[int, ValueColumn]]


def create(plan: TablePlan, query: str, comment: str, on: str = "") -> str:
    """The statement that makes or replaces the view; the comment says what it was made of."""
    return f"CREATE OR REPLACE VIEW {plan.public}{on} AS {query} COMMENT {literal(comment)}"


def query(plan: TablePlan, *, merged: bool = True) -> str:
    """What the view selects."""
    rows = _Rows(plan, merged)
    listed = _named(plan, rows.columns())
    whole = f"SELECT {listed} FROM ({rows.query()}) AS s"
    if plan.static:
        whole += f" UNION ALL SELECT {_named(plan, rows.columns())} FROM ({rows.statics_alone()}) AS s"
    return whole


def _named(plan: TablePlan, columns: Sequence[str]) -> str:
    """Our names as Cassandra's. A name of its own may be one of ours: it is asked for by the subquery's."""
    shown: list[KeyColumn | ValueColumn] = [
        *plan.partition_key,
        *plan.clustering,
        *plan.shown(plan.static),
        *plan.shown(plan.regular),
    ]
    return ", ".join(f"s.{quoted(o)} AS {quoted(one.column.name)}" for o, one in zip(columns, shown, strict=True))


class _Rows:
    """The parts of the query of one table, from the inside out: merged rows; with `f`, the stamp at or below which all
    is gone; with `l0`, `l1`, …, what lives of each column, worked out once; and what is shown of that."""

    def __init__(self, plan: TablePlan, merged: bool) -> None:
        self.plan = plan
        self.merged = merged
        self.static = _numbered(plan.shown(plan.static), 0)
        self.regular = _numbered(plan.shown(plan.regular), len(self.static))

    def columns(self) -> list[str]:
        """The inner names of what is shown: keys as in the state, values numbered."""
        keys = [key.place for key in (*self.plan.partition_key, *self.plan.clustering)]
        return [*keys, *(f"v{at}" for at, _ in (*self.static, *self.regular))]

    def query(self) -> str:
        """Rows, joined with what their partitions have in common."""
        plan = self.plan
        keys = [f"r.{quoted(key.place)} AS {quoted(key.place)}" for key in (*plan.partition_key, *plan.clustering)]
        shown = [f"{_value(one, 't', at)} AS v{at}" for at, one in self.static]
        shown += [f"{_value(one, 'r', at)} AS v{at}" for at, one in self.regular]
        source = f"({self._rows()}) AS r"
        if plan.static:
            source += f" LEFT JOIN ({self._statics()}) AS t ON {_same(plan, 'r', 't')}"
        return f"SELECT {', '.join([*keys, *shown])} FROM {source} WHERE {self._visible()}"

    def statics_alone(self) -> str:
        """Partitions that have living statics and no row."""
        plan = self.plan
        keys = [f"t.{quoted(key.place)} AS {quoted(key.place)}" for key in plan.partition_key]
        keys += [f"CAST({key.type.null}, {literal(key.type.public)}) AS {quoted(key.place)}" for key in plan.clustering]
        shown = [f"{_value(one, 't', at)} AS v{at}" for at, one in self.static]
        shown += [f"{_null(one)} AS v{at}" for at, one in self.regular]
        some = " OR ".join(_lives(one, "t", at) for at, one in self.static if one not in plan.kept)
        ours, theirs = (", ".join(_comparable(key, of) for key in plan.partition_key) for of in ("t", "r"))
        return (
            f"SELECT {', '.join([*keys, *shown])} FROM ({self._statics()}) AS t WHERE ({some}) "
            f"AND ({ours}) NOT IN (SELECT {theirs} FROM ({self._rows()}) AS r WHERE {self._visible()})"
        )

    def _visible(self) -> str:
        """A row is there when its liveness is, or any cell; `fast`: or any was written last."""
        if self.plan.fast and not self.plan.table.is_counter:
            return "(r.live OR r.last)"
        return f"({' OR '.join(['r.live', *(_lives(one, 'r', at) for at, one in self._current())])})"

    def _current(self) -> list[tuple[int, ValueColumn]]:
        return [(at, one) for at, one in self.regular if one not in self.plan.kept]

    def _rows(self) -> str:
        """Rows with what lives of them."""
        plan = self.plan
        stamps = [DELETED, LIVE, *((LASTING, PASSING, LAST) if plan.fast else ())]
        keys = [key.place for key in (*plan.partition_key, *plan.clustering)]
        columns = _columns(plan, [*keys, *stamps], self.regular)
        if plan.has_clustering:
            source = self._merged(plan.state, plan.row_key, [*columns, CLUSTERING])
            inside = "if(lo <= e.`r:ck` AND e.`r:ck` < hi, ts, 0)"
            floored = self._floored(source, columns, f"arrayMap((lo, hi, ts) -> {inside}, g.`lo`, g.`hi`, g.`ts`)")
        else:
            source = self._merged(plan.state, plan.row_key, columns)
            floored = f"SELECT *, {self._floor(quoted(DELETED))} AS f FROM ({source})"
        lives = [f"{_is_alive(f'o.{quoted(LIVE)}', 'o.f')} AS live"]
        if plan.fast:
            passing = f"(o.{quoted(PASSING)} > o.f AND o.{quoted(LAST)} >= now)"
            lives.append(f"(o.{quoted(LASTING)} > o.f OR {passing}) AS last")
        return self._living(floored, [*keys], self.regular, lives)

    def _statics(self) -> str:
        """Static rows with what lives of them; only a deletion of the whole partition covers them."""
        plan = self.plan
        keys = [key.place for key in plan.partition_key]
        columns = _columns(plan, [*keys, DELETED], self.static)
        source = self._merged(plan.static_state, plan.partition_names, columns)
        whole = "arrayMap((lo, ts) -> if(empty(lo), ts, 0), g.`lo`, g.`ts`)"
        return self._living(self._floored(source, columns, whole), keys, self.static, [])

    def _living(self, source: str, keys: Sequence[str], values: Numbered, lives: Sequence[str]) -> str:
        """`l0`, … of these columns: a mark, for a cell; the living cells in order; the sum of a counter."""
        columns = list(dict.fromkeys([*self.plan.partition_names, *keys]))
        columns += [one.part("v") for _, one in values if one.is_simple]
        found = [f"{_living(one)} AS l{at}" for at, one in values]
        return f"WITH {_RANK} SELECT {', '.join([_listed(columns, 'o'), *lives, *found])} FROM ({source}) AS o"

    def _floored(self, source: str, columns: Sequence[str], stamps: str) -> str:
        """Rows joined with the ranges of their partition, of which `stamps` are those over a row."""
        floor = self._floor(f"e.{quoted(DELETED)}", f"if(empty(g.`ts`), 0, arrayMax({stamps}))")
        return (
            f"SELECT {_listed(columns, 'e')}, {floor} AS f FROM ({source}) AS e "
            f"LEFT JOIN ({self._ranges()}) AS g ON {_same(self.plan, 'e', 'g')}"
        )

    def _ranges(self) -> str:
        plan = self.plan
        keys = _quoted(plan.partition_names)
        return (
            f"SELECT {keys}, groupArray(`lo`) AS `lo`, groupArray(`hi`) AS `hi`, groupArray(`ts`) AS `ts` "
            f"FROM {plan.ranges} GROUP BY {keys}"
        )

    def _floor(self, *stamps: str) -> str:
        database = quoted(self.plan.state_database)
        gone = f"(SELECT max(ts) FROM {database}.cdc_truncations WHERE table_id = '{self.plan.table.id}')"
        return f"greatest({', '.join([*stamps, gone])})"

    def _merged(self, table: str, key: Sequence[str], columns: Sequence[str]) -> str:
        """The rows of a state table, one for each key."""
        if self.merged:
            return f"SELECT {_quoted(columns)} FROM {table} FINAL"
        types = {name: sql for of, listed, _ in ddl.tables(self.plan) if of == table for name, sql in listed}
        types |= {name: sql for one in self.plan.kept for name, sql in ddl.value_parts(one)}
        listed = [
            quoted(name)
            if name in key
            else f"{types[name].split('(')[1].split(',')[0]}({quoted(name)}) AS {quoted(name)}"
            for name in columns
        ]
        return f"SELECT {', '.join(listed)} FROM {table} GROUP BY {_quoted(key)}"


def _same(plan: TablePlan, left: str, right: str) -> str:
    """Rows of one partition."""
    return " AND ".join(f"{_comparable(key, left)} = {_comparable(key, right)}" for key in plan.partition_key)


def _comparable(key: KeyColumn, source: str) -> str:
    """A key column; where it may be NULL, as a text that only NULL has none of."""
    name = f"{source}.{quoted(key.index_name)}"
    return f"ifNull(toString({name}), '')" if key.nullable and not key.by_bytes else name


def _columns(plan: TablePlan, own: Sequence[str], values: Numbered) -> list[str]:
    """What is read of a state table."""
    parts = [name for _, one in values for name, _ in ddl.value_parts(one)]
    return list(dict.fromkeys([*plan.partition_names, *own, *parts]))


def _numbered(values: Sequence[ValueColumn], first: int) -> Numbered:
    return list(enumerate(values, first))


def _living(one: ValueColumn) -> str:
    """What lives of a column of row `o`."""
    cell, deleted = f"o.{quoted(one.part('v'))}", f"o.{quoted(one.part('d'))}"
    if isinstance(one.type, ValueType):
        return _is_alive(cell, "o.f")
    if isinstance(one.type, CellsType):
        alive = _is_alive("tupleElement(pc, 2)", f"greatest(o.f, {deleted})")
        cells = f"arrayFilter(pc -> {alive}, arrayZip(mapKeys({cell}), mapValues({cell})))"
        return f"arraySort(pc -> tupleElement(pc, 1), {cells})"
    return counters.shown(cell, f"o.{quoted(one.part('o'))}", deleted, "o.f")


def _lives(one: ValueColumn, source: str, at: int) -> str:
    """Whether a column has a value."""
    if isinstance(one.type, ValueType):
        return f"{source}.l{at}"
    return f"{'notEmpty' if isinstance(one.type, CellsType) else 'isNotNull'}({source}.l{at})"


def _value(one: ValueColumn, source: str, at: int) -> str:
    """The value of a column, or its NULL."""
    if isinstance(one.type, CellsType):
        return one.type.assemble.format(cells=f"{source}.l{at}")
    if one.type is None:
        return f"{source}.l{at}"
    cell, alive = f"{source}.{quoted(one.part('v'))}", f"{source}.l{at}"
    if not one.type.scalar.holds_empty:
        alive = f"({alive} AND tupleElement({cell}, 'x') % 2 = 1)"
    return f"if({alive}, {one.type.show(cell)}, {one.type.null})"


def _null(one: ValueColumn) -> str:
    null = "NULL" if one.type is None else one.type.null
    return f"CAST({null}, {literal(one.sql)})"


def _is_alive(cell: str, floor: str) -> str:
    """Written, not deleted, not a tombstone, not expired."""
    w, x = f"tupleElement({cell}, 'w')", f"tupleElement({cell}, 'x')"
    return f"({w} > {floor} AND ({x} < 2 OR ({x} >= now AND {x} < {TOMBSTONE})))"


def _listed(columns: Sequence[str], source: str) -> str:
    return ", ".join(f"{source}.{quoted(name)} AS {quoted(name)}" for name in columns)


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(map(quoted, columns))


def stamp(micros: int) -> int:
    """A writetime (µs) as it is kept."""
    return micros + SIGN
