"""The view of a table: exactly Cassandra's columns and rows.

The state is read whole, tuple by tuple, by a view of its own: an element of a tuple read under `FINAL` comes from any
of the versions of a row (ClickHouse issues 61161, 110028). Where a server fails the canary in spite of that, rows are
put together by `GROUP BY` (`merged=False`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cdc_pipeline.load.clickhouse import names
from cdc_pipeline.load.clickhouse.ddl import DELETED, LAST, LASTING, LIVE, PASSING, SIGN, TOMBSTONE, value_parts
from cdc_pipeline.load.clickhouse.names import literal, quoted
from cdc_pipeline.load.clickhouse.plan import CLUSTERING, KeyColumn, TablePlan, ValueColumn
from cdc_pipeline.load.clickhouse.types import CellsType, ValueType, counters
from cdc_pipeline.load.clickhouse.whole import comparable, floored, merged_rows, same

AS_OF = "cdc_as_of="
"""How a query's setting `log_comment` begins that has the views answer as of a time (s since 1970): settings of our own
would have to be allowed in a server's configuration."""

_COMMENT = "getSetting('log_comment')"
NOW = (
    f"toUInt64(if(startsWith({_COMMENT}, '{AS_OF}'), "
    f"toInt64OrZero(substring({_COMMENT}, {len(AS_OF) + 1})), toInt64(toUnixTimestamp(now()))))"
)
"""The clock (s) that hides expired cells."""


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


def views(plan: TablePlan, *, merged: bool = True, distributed: bool = False) -> list[View]:
    """What a table is read by, in the order of making: the rows and the static rows, each with the stamp at or below
    which all of it is gone, and, last, what users see. `distributed`: the state lies on several shards.

    They are views of their own, and what a column has is said once, by aliases: to understand a query, a server goes
    through a subquery, and what an alias stands for, for each name that is taken from it.
    """
    shown = _Shown(plan)
    found = [View(plan.state_database, shown.rows, _rows(plan, merged, distributed))]
    if plan.static:
        found.append(View(plan.state_database, shown.statics, _statics(plan, merged)))
    return [*found, View(plan.database, plan.table.name, shown.query())]


def stamp(micros: int) -> int:
    """A writetime (µs) as it is kept."""
    return micros + SIGN


class _Shown:
    """The query over the rows (`r`) and static rows (`t`) of one table.

    Names of its own begin with more underscores than that of any column, which is an alias in the same query.
    """

    def __init__(self, plan: TablePlan) -> None:
        self.plan = plan
        self.rows, self.statics = names.state_table(plan.table, "rows"), names.state_table(plan.table, "statics")
        own = _own(plan)
        self._row, self._static, self._now = f"{own}r", f"{own}t", f"{own}now"
        self._regulars = [
            _Value(one, f"{own}{at}", self._row, self._now) for at, one in enumerate(plan.shown(plan.regular))
        ]
        self._statics = [
            _Value(one, f"{own}s{at}", self._static, self._now) for at, one in enumerate(plan.shown(plan.static))
        ]

    def query(self) -> str:
        """Rows, and partitions that have living statics and no row."""
        return self._with_rows() + (f" UNION ALL {self._statics_alone()}" if self.plan.static else "")

    def _with_rows(self) -> str:
        keys = [f"{self._key(key)} AS {quoted(key.column.name)}" for key in self._keys()]
        values = [*self._statics, *self._regulars]
        shown = [f"{one.shown} AS {quoted(one.name)}" for one in values]
        source = self._source(self.rows, self._row)
        if self.plan.static:
            on = same(self.plan, self._row, self._static)
            source += f" LEFT JOIN {self._source(self.statics, self._static)} ON {on}"
        return f"WITH {self._defined(values)} SELECT {', '.join([*keys, *shown])} FROM {source} WHERE {self._visible()}"

    def _statics_alone(self) -> str:
        plan = self.plan
        keys = [f"{self._static}.{quoted(key.place)} AS {quoted(key.column.name)}" for key in plan.partition_key]
        keys += [
            f"CAST({key.type.null}, {literal(key.type.public)}) AS {quoted(key.column.name)}" for key in plan.clustering
        ]
        shown = [f"{one.shown} AS {quoted(one.name)}" for one in self._statics]
        shown += [f"{one.null} AS {quoted(one.name)}" for one in self._regulars]
        some = " OR ".join(one.lives for one in self._statics[: len(plan.static)])
        ours, theirs = (
            ", ".join(comparable(key, of) for key in plan.partition_key) for of in (self._static, self._row)
        )
        looked_at = () if self._by_last_write else self._regulars[: len(plan.regular)]
        rows = f"SELECT {theirs} FROM {self._source(self.rows, self._row)} WHERE {self._visible()}"
        return (
            f"WITH {self._defined(self._statics)} SELECT {', '.join([*keys, *shown])} "
            f"FROM {self._source(self.statics, self._static)} "
            f"WHERE ({some}) AND ({ours}) NOT IN (WITH {self._defined(looked_at)} {rows})"
        )

    def _keys(self) -> tuple[KeyColumn, ...]:
        return (*self.plan.partition_key, *self.plan.clustering)

    def _key(self, key: KeyColumn) -> str:
        place = f"{self._row}.{quoted(key.place)}"
        return f"tupleElement({place}, 'f')" if key.has_forms else place

    def _source(self, name: str, alias: str) -> str:
        return f"{quoted(self.plan.state_database)}.{quoted(name)} AS {alias}"

    def _defined(self, values: Iterable[_Value]) -> str:
        """The least rank that is not over, and what each column has."""
        now = f"({NOW} + 1) * {1 << 31} AS {self._now}"
        return ", ".join([now, *(one.defined for one in values)])

    @property
    def _by_last_write(self) -> bool:
        return self.plan.fast and not self.plan.table.is_counter

    def _visible(self) -> str:
        """A row is there when its liveness is, or any cell; `fast`: or any was written last."""
        row = self._row
        live = _is_alive(f"{row}.{quoted(LIVE)}", f"{row}.f", self._now)
        if self._by_last_write:
            passing = f"({row}.{quoted(PASSING)} > {row}.f AND {row}.{quoted(LAST)} >= {self._now})"
            return f"({live} OR {row}.{quoted(LASTING)} > {row}.f OR {passing})"
        cells = self._regulars[: len(self.plan.regular)]  # what is left of dropped columns shows no row
        return f"({' OR '.join([live, *(one.lives for one in cells)])})"


class _Value:
    """One column: what it has is `defined` by an alias, and by that whether it `lives` and what is `shown`.

    `source` has its parts and the floor `f`, `now` is the least rank that is not over.
    """

    def __init__(self, column: ValueColumn, own: str, source: str, now: str) -> None:
        self.column = column
        self.name = column.column.name
        alive = f"{own}a"
        cell, deleted = (f"{source}.{quoted(column.part(part))}" for part in "vd")
        if isinstance(column.type, ValueType):
            defined = _is_alive(cell, f"{source}.f", now)
            self.lives = alive
            self.shown = (
                f"if({alive} AND tupleElement({cell}, 'x') % 2 = 1, {column.type.show(cell)}, {column.type.null})"
            )
        elif isinstance(column.type, CellsType):
            living = _is_alive("tupleElement(pc, 2)", f"greatest({source}.f, {deleted})", now)
            defined = f"arrayFilter(pc -> {living}, arrayZip(mapKeys({cell}), mapValues({cell})))"
            self.lives = f"notEmpty({alive})"
            self.shown = column.type.assemble.format(cells=f"arraySort(pc -> tupleElement(pc, 1), {alive})")
        else:
            defined = counters.shown(cell, f"{source}.{quoted(column.part('o'))}", deleted, f"{source}.f")
            self.lives, self.shown = f"isNotNull({alive})", alive
        self.defined = f"{defined} AS {alive}"

    @property
    def null(self) -> str:
        """What is shown where there is no row."""
        null = "NULL" if self.column.type is None else self.column.type.null
        return f"CAST({null}, {literal(self.column.sql)})"


def _rows(plan: TablePlan, merged: bool, distributed: bool) -> str:
    """Merged rows with their floor `f`."""
    stamps = [DELETED, LIVE, *((LASTING, PASSING, LAST) if plan.fast else ())]
    keys = [key.place for key in (*plan.partition_key, *plan.clustering)]
    columns = _columns(plan, [*keys, *stamps], plan.shown(plan.regular))
    if merged and not distributed:
        return floored(plan, f"{plan.state} AS e FINAL", columns, static=False)
    below = [*columns, CLUSTERING] if plan.has_clustering else columns
    return floored(plan, f"({merged_rows(plan, plan.state, plan.row_key, below, merged)}) AS e", columns, static=False)


def _statics(plan: TablePlan, merged: bool) -> str:
    """Merged static rows with their floor."""
    columns = _columns(plan, [*(key.place for key in plan.partition_key), DELETED], plan.shown(plan.static))
    rows = merged_rows(plan, plan.static_state, plan.partition_names, columns, merged)
    return floored(plan, f"({rows}) AS e", columns, static=True)


def _own(plan: TablePlan) -> str:
    """What no column's name begins with."""
    listed = [one.column.name for one in (*plan.columns, *plan.kept)]
    longest = max(len(name) - len(name.lstrip("_")) for name in listed)
    return "_" * (longest + 1)


def _columns(plan: TablePlan, own: Iterable[str], values: Iterable[ValueColumn]) -> list[str]:
    """What is read of a state table."""
    parts = [name for one in values for name, _ in value_parts(one)]
    return list(dict.fromkeys([*plan.partition_names, *own, *parts]))


def _is_alive(cell: str, floor: str, now: str) -> str:
    """Written, not deleted, not a tombstone, not expired."""
    w, x = f"tupleElement({cell}, 'w')", f"tupleElement({cell}, 'x')"
    return f"({w} > {floor} AND ({x} < 2 OR ({x} >= {now} AND {x} < {TOMBSTONE})))"
