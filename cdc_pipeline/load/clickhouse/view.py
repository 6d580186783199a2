"""The view of a table: exactly Cassandra's columns and rows.

The state is read whole, tuple by tuple, below a subquery: an element of a tuple read under `FINAL` comes from any of
the versions of a row (ClickHouse issues 61161, 110028). Where a server fails the canary in spite of that, rows are put
together by `GROUP BY` (`merged=False`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc_pipeline.load.clickhouse import ddl, names
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


@dataclass(frozen=True)
class View:
    """A view: where it is (not quoted), and what it selects."""

    database: str
    name: str
    query: str

    @property
    def quoted(self) -> str:
        """Its name."""
        return f"{quoted(self.database)}.{quoted(self.name)}"

    def create(self, comment: str, on: str = "") -> str:
        """The statement that makes or replaces it; the comment says what it was made of."""
        return f"CREATE OR REPLACE VIEW {self.quoted}{on} AS ({self.query}) COMMENT {literal(comment)}"


def views(plan: TablePlan, *, merged: bool = True) -> list[View]:
    """What a table is read by, in the order of making: the rows and the static rows, each with the stamp at or below
    which all of it is gone, and, last, what users see.

    They are views of their own, for a server looks up each name of a subquery again and again: one query over a table
    of 65 columns took it eight seconds to understand, this one takes half of one.
    """
    shown = _Shown(plan)
    found = [View(plan.state_database, shown.rows, _rows(plan, merged))]
    if plan.static:
        found.append(View(plan.state_database, shown.statics, _statics(plan, merged)))
    return [*found, View(plan.database, plan.table.name, shown.query())]


def _named(plan: TablePlan, columns: Sequence[str]) -> str:
    """Our names as Cassandra's. A name of its own may be one of ours: it is asked for by the subquery's."""
    shown: list[KeyColumn | ValueColumn] = [
        *plan.partition_key,
        *plan.clustering,
        *plan.shown(plan.static),
        *plan.shown(plan.regular),
    ]
    return ", ".join(f"s.{quoted(o)} AS {quoted(one.column.name)}" for o, one in zip(columns, shown, strict=True))


class _Shown:
    """What users see of the rows (`r`) and static rows (`t`) of one table."""

    def __init__(self, plan: TablePlan) -> None:
        self.plan = plan
        self.rows, self.statics = names.state_table(plan.table, "rows"), names.state_table(plan.table, "statics")
        self.values = [
            *((one, "t") for one in plan.shown(plan.static)),
            *((one, "r") for one in plan.shown(plan.regular)),
        ]

    def query(self) -> str:
        """Rows, and partitions that have living statics and no row."""
        listed = _named(
            self.plan, [*(key.place for key in self._keys()), *(f"v{at}" for at in range(len(self.values)))]
        )
        whole = f"SELECT {listed} FROM ({self._with_rows()}) AS s"
        if self.plan.static:
            whole += f" UNION ALL SELECT {listed} FROM ({self._statics_alone()}) AS s"
        return whole

    def _keys(self) -> tuple[KeyColumn, ...]:
        return (*self.plan.partition_key, *self.plan.clustering)

    def _source(self, name: str) -> str:
        return f"{quoted(self.plan.state_database)}.{quoted(name)}"

    def _with_rows(self) -> str:
        keys = [f"r.{quoted(key.place)} AS {quoted(key.place)}" for key in self._keys()]
        shown = [f"{_value(one, source)} AS v{at}" for at, (one, source) in enumerate(self.values)]
        source = f"{self._source(self.rows)} AS r"
        if self.plan.static:
            source += f" LEFT JOIN {self._source(self.statics)} AS t ON {same(self.plan, 'r', 't')}"
        return f"WITH {_RANK} SELECT {', '.join([*keys, *shown])} FROM {source} WHERE {self._visible()}"

    def _statics_alone(self) -> str:
        plan = self.plan
        keys = [f"t.{quoted(key.place)} AS {quoted(key.place)}" for key in plan.partition_key]
        keys += [f"CAST({key.type.null}, {literal(key.type.public)}) AS {quoted(key.place)}" for key in plan.clustering]
        shown = [
            f"{_value(one, 't') if source == 't' else _null(one)} AS v{at}"
            for at, (one, source) in enumerate(self.values)
        ]
        some = " OR ".join(_lives(one, "t") for one in plan.static)
        ours, theirs = (", ".join(_comparable(key, of) for key in plan.partition_key) for of in ("t", "r"))
        rows = f"WITH {_RANK} SELECT {theirs} FROM {self._source(self.rows)} AS r WHERE {self._visible()}"
        return (
            f"WITH {_RANK} SELECT {', '.join([*keys, *shown])} FROM {self._source(self.statics)} AS t "
            f"WHERE ({some}) AND ({ours}) NOT IN ({rows})"
        )

    def _visible(self) -> str:
        """A row is there when its liveness is, or any cell; `fast`: or any was written last."""
        live = _is_alive(f"r.{quoted(LIVE)}", "r.f")
        if self.plan.fast and not self.plan.table.is_counter:
            passing = f"(r.{quoted(PASSING)} > r.f AND r.{quoted(LAST)} >= now)"
            return f"({live} OR r.{quoted(LASTING)} > r.f OR {passing})"
        return f"({' OR '.join([live, *(_lives(one, 'r') for one in self.plan.regular)])})"


def _rows(plan: TablePlan, merged: bool) -> str:
    """Merged rows with `f`, the stamp at or below which all is gone."""
    stamps = [DELETED, LIVE, *((LASTING, PASSING, LAST) if plan.fast else ())]
    keys = [key.place for key in (*plan.partition_key, *plan.clustering)]
    columns = _columns(plan, [*keys, *stamps], plan.shown(plan.regular))
    if not plan.has_clustering:
        source = merged_rows(plan, plan.state, plan.row_key, columns, merged)
        return f"SELECT *, {_floor(plan, quoted(DELETED))} AS f FROM ({source})"
    source = merged_rows(plan, plan.state, plan.row_key, [*columns, CLUSTERING], merged)
    return floored(plan, source, columns, static=False)


def _statics(plan: TablePlan, merged: bool) -> str:
    """Merged static rows with their `f`; of ranges only a deletion of the whole partition covers them."""
    columns = _columns(plan, [*(key.place for key in plan.partition_key), DELETED], plan.shown(plan.static))
    source = merged_rows(plan, plan.static_state, plan.partition_names, columns, merged)
    return floored(plan, source, columns, static=True)


def floored(plan: TablePlan, source: str, columns: Sequence[str], *, static: bool) -> str:
    """Merged rows with `f`, the greatest stamp of what is over them."""
    if not plan.has_clustering:
        return f"SELECT *, {_floor(plan, quoted(DELETED))} AS f FROM ({source})"
    floor = _floor(plan, f"e.{quoted(DELETED)}", f"if(empty(g.`ts`), 0, {covering(static=static)})")
    return (
        f"SELECT {_listed(columns, 'e')}, {floor} AS f FROM ({source}) AS e "
        f"LEFT JOIN ({ranges(plan)}) AS g ON {same(plan, 'e', 'g')}"
    )


def ranges(plan: TablePlan, where: str = "1") -> str:
    """The ranges of each partition, side by side."""
    keys = _quoted(plan.partition_names)
    return (
        f"SELECT {keys}, groupArray(`lo`) AS `lo`, groupArray(`hi`) AS `hi`, groupArray(`ts`) AS `ts` "
        f"FROM {plan.ranges} WHERE {where} GROUP BY {keys}"
    )


def covering(*, static: bool) -> str:
    """The greatest stamp of the ranges `g` over a row `e`, 0: none; a static row goes with its whole partition."""
    if static:
        return "arrayMax(arrayMap((lo, ts) -> if(empty(lo), ts, 0), g.`lo`, g.`ts`))"
    inside = "if(lo <= e.`r:ck` AND e.`r:ck` < hi, ts, 0)"
    return f"arrayMax(arrayMap((lo, hi, ts) -> {inside}, g.`lo`, g.`hi`, g.`ts`))"


def _floor(plan: TablePlan, *stamps: str) -> str:
    truncations = f"{quoted(plan.state_database)}.cdc_truncations"
    gone = f"(SELECT max(ts) FROM {truncations} WHERE table_id = '{plan.table.id}')"
    return f"greatest({', '.join([*stamps, gone])})"


def merged_rows(plan: TablePlan, table: str, key: Sequence[str], columns: Sequence[str], merged: bool) -> str:
    """The rows of a state table, one for each key."""
    if merged:
        return f"SELECT {_quoted(columns)} FROM {table} FINAL"
    types = {name: sql for of, listed, _ in ddl.tables(plan) if of == table for name, sql in listed}
    types |= {name: sql for one in plan.kept for name, sql in ddl.value_parts(one)}
    listed = [
        quoted(name) if name in key else f"{types[name].split('(')[1].split(',')[0]}({quoted(name)}) AS {quoted(name)}"
        for name in columns
    ]
    return f"SELECT {', '.join(listed)} FROM {table} GROUP BY {_quoted(key)}"


def _columns(plan: TablePlan, own: Sequence[str], values: Sequence[ValueColumn]) -> list[str]:
    """What is read of a state table."""
    parts = [name for one in values for name, _ in ddl.value_parts(one)]
    return list(dict.fromkeys([*plan.partition_names, *own, *parts]))


def same(plan: TablePlan, left: str, right: str) -> str:
    """Rows of one partition."""
    return " AND ".join(f"{_comparable(key, left)} = {_comparable(key, right)}" for key in plan.partition_key)


def _comparable(key: KeyColumn, source: str) -> str:
    """A key column; where it may be NULL, as a text that only NULL has none of."""
    name = f"{source}.{quoted(key.index_name)}"
    return f"ifNull(toString({name}), '')" if key.nullable and not key.by_bytes else name


def _lives(one: ValueColumn, source: str) -> str:
    """Whether a column has a value."""
    cell = f"{source}.{quoted(one.part('v'))}"
    if isinstance(one.type, ValueType):
        return _is_alive(cell, f"{source}.f")
    if isinstance(one.type, CellsType):
        return f"notEmpty({_cells(one, source)})"
    return f"isNotNull({_value(one, source)})"


def _value(one: ValueColumn, source: str) -> str:
    """The value of a column, or its NULL."""
    cell = f"{source}.{quoted(one.part('v'))}"
    if isinstance(one.type, CellsType):
        return one.type.assemble.format(cells=f"arraySort(pc -> tupleElement(pc, 1), {_cells(one, source)})")
    if one.type is None:
        deleted, by_time = f"{source}.{quoted(one.part('d'))}", f"{source}.{quoted(one.part('o'))}"
        return counters.shown(cell, by_time, deleted, f"{source}.f")
    alive = f"({_lives(one, source)} AND tupleElement({cell}, 'x') % 2 = 1)"
    return f"if({alive}, {one.type.show(cell)}, {one.type.null})"


def _cells(one: ValueColumn, source: str) -> str:
    """The living cells of a column as (path, cell)."""
    cells = f"{source}.{quoted(one.part('v'))}"
    lowest = f"greatest({source}.f, {source}.{quoted(one.part('d'))})"
    alive = _is_alive("tupleElement(pc, 2)", lowest)
    return f"arrayFilter(pc -> {alive}, arrayZip(mapKeys({cells}), mapValues({cells})))"


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
