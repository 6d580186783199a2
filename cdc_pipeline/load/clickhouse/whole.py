"""Whole rows out of the state: merged, and with the stamp at or below which all of a row is gone.

A floor is the greatest stamp of what is over a row: its own deletion, ranges of its partition, a truncation.
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_pipeline.load.clickhouse import ddl
from cdc_pipeline.load.clickhouse.ddl import DELETED
from cdc_pipeline.load.clickhouse.names import quoted
from cdc_pipeline.load.clickhouse.plan import KeyColumn, TablePlan


def merged_rows(plan: TablePlan, table: str, key: Sequence[str], columns: Sequence[str], merged: bool) -> str:
    """The rows of a state table, one for each key; without `merged`, by `GROUP BY`."""
    if merged:
        return f"SELECT {_quoted(columns)} FROM {table} FINAL"
    types = {name: sql for of, listed, _ in ddl.tables(plan) if of == table for name, sql in listed}
    types |= {name: sql for one in plan.kept for name, sql in ddl.value_parts(one)}
    listed = [
        quoted(name) if name in key else f"{types[name].split('(')[1].split(',')[0]}({quoted(name)}) AS {quoted(name)}"
        for name in columns
    ]
    return f"SELECT {', '.join(listed)} FROM {table} GROUP BY {_quoted(key)}"


def floored(plan: TablePlan, rows: str, columns: Sequence[str], *, static: bool) -> str:
    """The `columns` of merged `rows` (a source named `e`) with their floor `f`; a static row has its partition's."""
    truncations = f"{quoted(plan.state_database)}.cdc_truncations"
    stamps = [f"e.{quoted(DELETED)}", f"(SELECT max(ts) FROM {truncations} WHERE table_id = '{plan.table.id}')"]
    if plan.has_clustering:
        rows += f" LEFT JOIN ({by_partition(plan)}) AS g ON {same(plan, 'e', 'g')}"
        stamps.append(f"if(empty(g.`ts`), 0, {covering(static=static)})")
    listed = ", ".join(f"e.{quoted(name)} AS {quoted(name)}" for name in columns)
    return f"SELECT {listed}, greatest({', '.join(stamps)}) AS f FROM {rows}"


def by_partition(plan: TablePlan, where: str = "1") -> str:
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


def same(plan: TablePlan, left: str, right: str) -> str:
    """Rows of one partition."""
    return " AND ".join(f"{comparable(key, left)} = {comparable(key, right)}" for key in plan.partition_key)


def comparable(key: KeyColumn, source: str) -> str:
    """A key column; where it may be NULL, as a text that only NULL has none of."""
    name = f"{source}.{quoted(key.index_name)}"
    return f"ifNull(toString({name}), '')" if key.nullable and not key.by_bytes else name


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(map(quoted, columns))
