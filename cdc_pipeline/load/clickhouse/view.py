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
    """The parts of the query of one table."""

    def __init__(self, plan: TablePlan, merged: bool) -> None:
        self.plan = plan
        self.merged = merged
        self.static, self.regular = plan.shown(plan.static), plan.shown(plan.regular)

    def columns(self) -> list[str]:
        """The inner names of what is shown: keys as in the state, values numbered."""
        keys = [key.place for key in (*self.plan.partition_key, *self.plan.clustering)]
        return [*keys, *(f"v{at}" for at in range(len(self.static) + len(self.regular)))]

    def query(self) -> str:
        """Rows, joined with what their partitions have in common."""
        plan = self.plan
        keys = [f"r.{quoted(key.place)} AS {quoted(key.place)}" for key in (*plan.partition_key, *plan.clustering)]
        shown = [f"{_value(one, 't', 'tf')} AS v{at}" for at, one in enumerate(self.static)]
        shown += [f"{_value(one, 'r', 'f')} AS v{at}" for at, one in enumerate(self.regular, len(self.static))]
        source = f"({self._rows()}) AS r"
        if plan.static:
            source += f" LEFT JOIN ({self._statics()}) AS t ON {_same(plan, 'r', 't')}"
        return f"WITH {_RANK} SELECT {', '.join([*keys, *shown])} FROM {source} WHERE {self._visible()}"

    def statics_alone(self) -> str:
        """Partitions that have living statics and no row."""
        plan = self.plan
        keys = [f"t.{quoted(key.place)} AS {quoted(key.place)}" for key in plan.partition_key]
        keys += [f"CAST({key.type.null}, {literal(key.type.public)}) AS {quoted(key.place)}" for key in plan.clustering]
        shown = [f"{_value(one, 't', 'tf')} AS v{at}" for at, one in enumerate(self.static)]
        shown += [f"{_null(one)} AS v{at}" for at, one in enumerate(self.regular, len(self.static))]
        some = " OR ".join(_alive(one, "t", "tf") for one in plan.static)
        ours, theirs = (", ".join(_comparable(key, of) for key in plan.partition_key) for of in ("t", "r"))
        rows = f"WITH {_RANK} SELECT {theirs} FROM ({self._rows()}) AS r WHERE {self._visible()}"
        return (
            f"WITH {_RANK} SELECT {', '.join([*keys, *shown])} FROM ({self._statics()}) AS t "
            f"WHERE ({some}) AND ({ours}) NOT IN ({rows})"
        )

    def _visible(self) -> str:
        """A row is there when its liveness is, or any cell."""
        live = _is_alive(f"r.{quoted(LIVE)}", "r.f")
        if self.plan.fast and not self.plan.table.is_counter:
            some = f"r.{quoted(LASTING)} > r.f OR (r.{quoted(PASSING)} > r.f AND r.{quoted(LAST)} >= now)"
            return f"({live} OR {some})"
        return f"({' OR '.join([live, *(_alive(one, 'r', 'f') for one in self.plan.regular)])})"

    def _rows(self) -> str:
        """Merged rows with `f`, the stamp at or below which all is gone."""
        plan = self.plan
        own = [DELETED, LIVE, *((LASTING, PASSING, LAST) if plan.fast else ())]
        keys = [key.place for key in (*plan.partition_key, *plan.clustering)]
        parts = [name for one in self.regular for name, _ in ddl.value_parts(one)]
        columns = list(dict.fromkeys([*plan.partition_names, *keys, *own, *parts]))
        if not plan.has_clustering:
            source = self._merged(plan.state, plan.row_key, columns)
            return f"SELECT *, {self._floor(quoted(DELETED))} AS f FROM ({source})"
        source = self._merged(plan.state, plan.row_key, [*columns, CLUSTERING])
        covered = (
            "arrayMax(arrayMap((lo, hi, ts) -> if(lo <= e.`r:ck` AND e.`r:ck` < hi, ts, 0), g.`lo`, g.`hi`, g.`ts`))"
        )
        floor = self._floor(f"e.{quoted(DELETED)}", f"if(empty(g.`ts`), 0, {covered})")
        return (
            f"SELECT {_listed(columns, 'e')}, {floor} AS f FROM ({source}) AS e "
            f"LEFT JOIN ({self._ranges()}) AS g ON {_same(plan, 'e', 'g')}"
        )

    def _statics(self) -> str:
        """Merged static rows with `tf`, their floor; only a deletion of the whole partition covers them."""
        plan = self.plan
        keys = [key.place for key in plan.partition_key]
        parts = [name for one in self.static for name, _ in ddl.value_parts(one)]
        columns = list(dict.fromkeys([*plan.partition_names, *keys, DELETED, *parts]))
        source = self._merged(plan.static_state, plan.partition_names, columns)
        whole = "arrayMax(arrayMap((lo, ts) -> if(empty(lo), ts, 0), g.`lo`, g.`ts`))"
        floor = self._floor(f"e.{quoted(DELETED)}", f"if(empty(g.`ts`), 0, {whole})")
        return (
            f"SELECT {_listed(columns, 'e')}, {floor} AS tf FROM ({source}) AS e "
            f"LEFT JOIN ({self._ranges()}) AS g ON {_same(plan, 'e', 'g')}"
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


def _value(one: ValueColumn, source: str, floor: str) -> str:
    """The value of a column, or its NULL."""
    cell = f"{source}.{quoted(one.part('v'))}"
    if isinstance(one.type, ValueType):
        alive = _alive(one, source, floor)
        if not one.type.scalar.holds_empty:
            alive = f"({alive} AND tupleElement({cell}, 'x') % 2 = 1)"
        return f"if({alive}, {one.type.show(cell)}, {one.type.null})"
    if isinstance(one.type, CellsType):
        living = _cells(one, source, floor)
        in_order = f"arraySort(pc -> tupleElement(pc, 1), {living})"
        return one.type.assemble.format(cells=in_order)
    deleted, by_time = f"{source}.{quoted(one.part('d'))}", f"{source}.{quoted(one.part('o'))}"
    return counters.shown(cell, by_time, deleted, f"{source}.{floor}")


def _null(one: ValueColumn) -> str:
    null = "NULL" if one.type is None else one.type.null
    return f"CAST({null}, {literal(one.sql)})"


def _alive(one: ValueColumn, source: str, floor: str) -> str:
    """Whether a column has a value."""
    cell = f"{source}.{quoted(one.part('v'))}"
    if isinstance(one.type, ValueType):
        return _is_alive(cell, f"{source}.{floor}")
    if isinstance(one.type, CellsType):
        return f"notEmpty({_cells(one, source, floor)})"
    return f"isNotNull({_value(one, source, floor)})"


def _cells(one: ValueColumn, source: str, floor: str) -> str:
    """The living cells of a column as (path, cell)."""
    cells = f"{source}.{quoted(one.part('v'))}"
    lowest = f"greatest({source}.{floor}, {source}.{quoted(one.part('d'))})"
    return (
        f"arrayFilter(pc -> {_is_alive('tupleElement(pc, 2)', lowest)}, arrayZip(mapKeys({cells}), mapValues({cells})))"
    )


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
