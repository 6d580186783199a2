"""The SQL of one micro-batch: staged rows merged into a state table by Cassandra's rule, per cell.

A cell is taken when its (writetime, rank and expiry, bytes) is greater than what is there; deletions only rise. So
nothing depends on the order, the number or the grouping of batches (`apply.md`, sections 1 and 2).
"""

from __future__ import annotations

from collections.abc import Sequence

from cdc_pipeline.load.postgres.ddl import CLUSTERING, DELETED, LIVE_W, LIVE_X, SEEN
from cdc_pipeline.load.postgres.names import quoted
from cdc_pipeline.load.postgres.plan import TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import ValueType

OLD, NEW = "s", "excluded"


def staging(table: str, name: str) -> str:
    """A session's staging table of a state table's shape; empty again after each commit."""
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} (LIKE {table}) ON COMMIT DELETE ROWS"


def copy_in(name: str, columns: Sequence[str]) -> str:
    """COPY into a staging table."""
    return f"COPY {name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"


def merge_rows(plan: TablePlan, name: str, columns: Sequence[str], *, static: bool) -> str:
    """Staged rows into the state; rows in the ledger's ranges get the ranges' deletion on their way."""
    table = plan.static_state if static else plan.state
    keys = [*plan.partition_names, *([CLUSTERING] if plan.has_clustering and not static else [])]
    values = [value for value in (plan.static if static else plan.regular) if value.part("v") in columns]
    sets, guards = [], []
    if not static:
        newer = _greater([(LIVE_W, None), (LIVE_X, "0")])
        sets += [_taken(name, newer) for name in (LIVE_W, LIVE_X)]
        guards.append(newer)
    sets.append(f"{DELETED} = greatest({OLD}.{DELETED}, {NEW}.{DELETED})")
    guards.append(f"coalesce({NEW}.{DELETED} > {OLD}.{DELETED}, {NEW}.{DELETED} IS NOT NULL)")
    sets.append(f"{SEEN} = NULL")
    for value in values:
        value_sets, guard = _merged(value)
        sets += value_sets
        guards.append(guard)
    chosen = ", ".join(_ledgered(column, plan) for column in columns)
    return (
        f"INSERT INTO {table} AS {OLD} ({', '.join(columns)}) SELECT {chosen} FROM {name} i{_ledger(plan, static)} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(sets)} WHERE {' OR '.join(guards)}"
    )


def _ledgered(column: str, plan: TablePlan) -> str:
    if column == DELETED and plan.has_clustering:
        return f"greatest(i.{DELETED}, l.ts)"
    return f"i.{column}"


def _ledger(plan: TablePlan, static: bool) -> str:
    """The greatest range deletion over each staged row; only a partition deletion (lo is empty) covers a static row."""
    if not plan.has_clustering:
        return ""
    inside = "r.lo = ''" if static else f"r.lo <= i.{CLUSTERING} AND i.{CLUSTERING} < r.hi"
    return (
        f" LEFT JOIN LATERAL (SELECT max(r.ts) AS ts FROM {plan.ranges} r "
        f"WHERE {plan.same_partition('r', 'i')} AND {inside}) l ON true"
    )


def merge_ranges(plan: TablePlan, name: str, columns: Sequence[str]) -> str:
    """Staged ranges into the ledger."""
    keys = [*plan.partition_names, "lo", "hi"]
    return (
        f"INSERT INTO {plan.ranges} AS {OLD} ({', '.join(columns)}) SELECT {', '.join(columns)} FROM {name} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET ts = {NEW}.ts, applied = now() "
        f"WHERE {NEW}.ts > {OLD}.ts"
    )


def cover_rows(plan: TablePlan, name: str) -> str:
    """Staged ranges over the rows that are there already."""
    keys = [*plan.partition_names, CLUSTERING]
    selected = ", ".join(f"e.{key}" for key in keys)
    matched = f"{plan.same_partition(OLD, 'm')} AND {OLD}.{CLUSTERING} = m.{CLUSTERING}"
    return (
        f"UPDATE {plan.state} {OLD} SET {DELETED} = m.ts FROM (SELECT {selected}, max(r.ts) AS ts FROM {name} r "
        f"JOIN {plan.state} e ON {plan.same_partition('e', 'r')} AND e.{CLUSTERING} >= r.lo AND e.{CLUSTERING} < r.hi "
        f"GROUP BY {selected}) m WHERE {matched} AND ({OLD}.{DELETED} IS NULL OR {OLD}.{DELETED} < m.ts)"
    )


def cover_static(plan: TablePlan, name: str) -> str:
    """Staged partition deletions over the static rows that are there already."""
    return (
        f"UPDATE {plan.static_state} {OLD} SET {DELETED} = r.ts FROM {name} r WHERE {plan.same_partition(OLD, 'r')} "
        f"AND r.lo = '' AND ({OLD}.{DELETED} IS NULL OR {OLD}.{DELETED} < r.ts)"
    )


TRUNCATE = """
INSERT INTO cdc.cdc_truncations AS t VALUES (%s, %s)
ON CONFLICT (table_id) DO UPDATE SET ts = excluded.ts WHERE excluded.ts > t.ts
"""
"""A truncation (table id, µs) into its ledger, which every view consults."""


STAMPS = """
SELECT attname, atttypid = 'cdc.cell[]'::regtype FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
  AND (attname ~ '^[wd](@|:)' OR attname IN ('r:lw', 'r:dw') OR atttypid = 'cdc.cell[]'::regtype)
"""
"""(column, whether it holds cells) of everything with a writetime in a state table: plans of other lanes may have
columns that the plan at hand does not know."""


def purge(table: str, stamps: Sequence[tuple[str, bool]], ts: int) -> str:
    """Takes away the rows that a truncation at `ts` µs hides, to give their space back."""
    hidden = [
        f"NOT EXISTS (SELECT 1 FROM unnest({quoted(name)}) e WHERE e.w > {ts})"
        if is_cells
        else f"({quoted(name)} IS NULL OR {quoted(name)} <= {ts})"
        for name, is_cells in stamps
    ]
    return f"DELETE FROM {table} WHERE {' AND '.join(hidden)}"


def _merged(value: ValueColumn) -> tuple[list[str], str]:
    """(SET clauses, whether anything changes) of one column."""
    if not isinstance(value.type, ValueType):
        cells, gone = value.part("v"), value.part("d")
        floor = f"greatest({OLD}.{gone}, {NEW}.{gone})"
        return [
            f"{cells} = CASE WHEN {NEW}.{cells} IS NULL AND {NEW}.{gone} IS NULL THEN {OLD}.{cells} "
            f"ELSE cdc.merge_cells({OLD}.{cells}, {NEW}.{cells}, {floor}) END",
            f"{gone} = {floor}",
        ], f"{NEW}.{cells} IS NOT NULL OR {NEW}.{gone} IS NOT NULL"
    w, x = value.part("w"), value.part("x")
    parts: list[tuple[str, str | None]] = [(w, None), (x, "0")]
    if value.type.tie is None:
        newer = _greater([*parts, (value.part("b"), "''")])
        names = [value.part("v"), w, x, value.part("b")]
    else:
        newer = _greater(parts, tie=value.type.tie, column=value.part("v"))
        names = [value.part("v"), w, x]
    return [_taken(name, newer) for name in names], newer


def _taken(name: str, newer: str) -> str:
    return f"{name} = CASE WHEN {newer} THEN {NEW}.{name} ELSE {OLD}.{name} END"


def _greater(parts: Sequence[tuple[str, str | None]], tie: str | None = None, column: str = "") -> str:
    """Whether the new (writetime, x[, bytes]) is greater than the old; a new NULL writetime never is.

    CASE keeps the comparison of bytes out of all but ties.
    """
    first = parts[0][0]
    new, old = f"{NEW}.{first}", f"{OLD}.{first}"
    rest = "false"
    if tie is not None:
        rest = f"coalesce({tie.format(f'{NEW}.{column}')}, '') > coalesce({tie.format(f'{OLD}.{column}')}, '')"
    for name, missing in reversed(parts[1:]):
        left, right = f"coalesce({NEW}.{name}, {missing})", f"coalesce({OLD}.{name}, {missing})"
        rest = f"CASE WHEN {left} = {right} THEN {rest} ELSE {left} > {right} END"
    return (
        f"CASE WHEN {new} IS NULL THEN false WHEN {old} IS NULL OR {new} > {old} THEN true "
        f"WHEN {new} < {old} THEN false ELSE {rest} END"
    )
