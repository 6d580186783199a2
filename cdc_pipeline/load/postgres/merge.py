"""The SQL of one micro-batch: staged rows merged into a state table by Cassandra's rule, per cell.

A cell is taken when its (writetime, rank and expiry, bytes) is greater than what is there; deletions only rise. So
nothing depends on the order, the number or the grouping of batches (`apply.md`, sections 1 and 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc_pipeline.load.postgres.ddl import CLUSTERING, DELETED, LIVE_W, LIVE_X, SEEN, inside, ledger_key
from cdc_pipeline.load.postgres.names import quoted
from cdc_pipeline.load.postgres.plan import WRITTEN, TablePlan, ValueColumn
from cdc_pipeline.load.postgres.types import ValueType

OLD, NEW = "s", "excluded"


def staging(table: str, name: str) -> str:
    """A session's staging table of a state table's shape, where any column may be null; empty after each commit."""
    return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS SELECT * FROM {table} WITH NO DATA"


def copy_in(name: str, columns: Sequence[str]) -> str:
    """COPY into a staging table."""
    return f"COPY {name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"


def merge_rows(plan: TablePlan, name: str, columns: Sequence[str], *, static: bool, ledger: bool) -> str:
    """Staged rows into the state; what no row has is no column here.

    `ledger`: rows in ranges that were deleted before get the ranges' deletion on their way.
    """
    table = plan.static_state if static else plan.state
    keys = plan.partition_names if static else plan.row_key
    values = [value for value in (plan.static if static else plan.regular) if value.part("v") in columns]
    sets, guards = [], []
    if not static:
        newer = _greater([_Part(LIVE_W, None), _Part(LIVE_X, "0", LIVE_X in columns)])
        sets += [f"{LIVE_W} = greatest({OLD}.{LIVE_W}, {NEW}.{LIVE_W})", _taken(LIVE_X, newer, LIVE_X in columns)]
        guards.append(newer)
    sent = [*columns, *([DELETED] if ledger and DELETED not in columns else [])]
    if DELETED in sent:
        sets.append(f"{DELETED} = greatest({OLD}.{DELETED}, {NEW}.{DELETED})")
        guards.append(f"coalesce({NEW}.{DELETED} > {OLD}.{DELETED}, {NEW}.{DELETED} IS NOT NULL)")
    sets.append(f"{SEEN} = NULL")
    if WRITTEN in columns:
        earlier = f"{NEW}.{WRITTEN} < {OLD}.{WRITTEN}"
        sets += [_taken(name, earlier) for name in (WRITTEN, *(key.sql_name for key in plan.formed))]
        guards.append(earlier)
    for value in values:
        value_sets, guard = _merged(value, columns)
        sets += value_sets
        guards.append(guard)
    chosen = [_ledgered(column, columns) if ledger else f"i.{column}" for column in sent]
    if not static:
        sent += plan.derived
        chosen += [expression for _, expression in plan.derived.values()]
    return (
        f"INSERT INTO {table} AS {OLD} ({', '.join(sent)}) SELECT {', '.join(chosen)} FROM {name} i"
        f"{_ledger(plan, static) if ledger else ''} "
        f"ON CONFLICT ({', '.join(keys)}) DO "
        + (f"UPDATE SET {', '.join(sets)} WHERE {' OR '.join(guards)}" if guards else "NOTHING")
    )


def _ledgered(column: str, columns: Sequence[str]) -> str:
    if column == DELETED:
        return f"greatest(i.{DELETED}, l.ts)" if DELETED in columns else "l.ts"
    return f"i.{column}"


def _ledger(plan: TablePlan, static: bool) -> str:
    """The greatest range deletion over each staged row; only a partition deletion (lo is empty) covers a static row."""
    within = "r.lo = ''" if static else inside("r", f"i.{CLUSTERING}")
    return (
        f" LEFT JOIN LATERAL (SELECT max(r.ts) AS ts FROM {plan.ranges} r "
        f"WHERE {plan.same_partition('r', 'i')} AND {within}) l ON true"
    )


def merge_ranges(plan: TablePlan, name: str, columns: Sequence[str]) -> str:
    """Staged ranges into the ledger."""
    keys = ledger_key(plan)
    return (
        f"INSERT INTO {plan.ranges} AS {OLD} ({', '.join(columns)}) SELECT {', '.join(columns)} FROM {name} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET ts = {NEW}.ts, applied = now() "
        f"WHERE {NEW}.ts > {OLD}.ts"
    )


def cover_rows(plan: TablePlan, name: str) -> str:
    """Staged ranges over the rows that are there already."""
    keys = [*plan.partition_names, CLUSTERING]
    if plan.covers_by_key:
        return _cover_by_key(plan, name)
    selected = ", ".join(f"e.{key}" for key in keys)
    matched = f"{plan.same_partition(OLD, 'm')} AND {OLD}.{CLUSTERING} = m.{CLUSTERING}"
    return (
        f"UPDATE {plan.state} {OLD} SET {DELETED} = m.ts FROM (SELECT {selected}, max(r.ts) AS ts FROM {name} r "
        f"JOIN {plan.state} e ON {plan.same_partition('e', 'r')} AND e.{CLUSTERING} >= r.lo AND e.{CLUSTERING} < r.hi "
        f"GROUP BY {selected}) m WHERE {matched} AND ({OLD}.{DELETED} IS NULL OR {OLD}.{DELETED} < m.ts)"
    )


def _cover_by_key(plan: TablePlan, name: str) -> str:
    """The same through the unique index: of compressed chunks only the batches with these keys are unpacked."""
    typed = [key.sql_name for key in (*plan.partition_key, *plan.clustering)]
    keys = list(dict.fromkeys([*typed, *plan.partition_names, CLUSTERING, *plan.derived]))
    selected = ", ".join(f"e.{key}" for key in keys)
    return (
        f"INSERT INTO {plan.state} AS {OLD} ({', '.join(keys)}, {DELETED}) SELECT {selected}, max(r.ts) FROM {name} r "
        f"JOIN {plan.state} e ON {plan.same_partition('e', 'r')} AND e.{CLUSTERING} >= r.lo AND e.{CLUSTERING} < r.hi "
        f"WHERE e.{DELETED} IS NULL OR e.{DELETED} < r.ts GROUP BY {selected} "
        f"ON CONFLICT ({', '.join(plan.row_key)}) DO UPDATE SET {DELETED} = {NEW}.{DELETED} "
        f"WHERE {OLD}.{DELETED} IS NULL OR {OLD}.{DELETED} < {NEW}.{DELETED}"
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A column that decides: what NULL counts as, None for "never written"; `sent` is false when all new are NULL."""

    name: str
    missing: str | None
    sent: bool = True

    @property
    def new(self) -> str:
        """The new row's."""
        return f"coalesce({NEW}.{self.name}, {self.missing})" if self.sent else str(self.missing)

    @property
    def old(self) -> str:
        """The row's that is there."""
        return f"coalesce({OLD}.{self.name}, {self.missing})"


def _merged(value: ValueColumn, columns: Sequence[str]) -> tuple[list[str], str]:
    """(SET clauses, whether anything changes) of one column."""
    if not isinstance(value.type, ValueType):
        cells, gone = value.part("v"), value.part("d")
        floor = f"greatest({OLD}.{gone}, {NEW}.{gone})"
        return [
            f"{cells} = CASE WHEN {NEW}.{cells} IS NULL AND {NEW}.{gone} IS NULL THEN {OLD}.{cells} "
            f"ELSE {value.type.merge}({OLD}.{cells}, {NEW}.{cells}, {floor}) END",
            f"{gone} = {floor}",
        ], f"{NEW}.{cells} IS NOT NULL OR {NEW}.{gone} IS NOT NULL"
    v, w, x = value.part("v"), value.part("w"), value.part("x")
    parts = [_Part(w, None), _Part(x, "0", x in columns)]
    if value.type.tie is None:
        newer = _greater([*parts, _Part(value.part("b"), "''")])
        beside = [_taken(value.part("b"), newer)]
    else:
        newer = _greater(parts, tie=value.type.tie, column=v)
        beside = []
    greatest = f"{w} = greatest({OLD}.{w}, {NEW}.{w})"
    return [_taken(v, newer), greatest, _taken(x, newer, x in columns), *beside], newer


def _taken(name: str, newer: str, sent: bool = True) -> str:
    return f"{name} = CASE WHEN {newer} THEN {f'{NEW}.{name}' if sent else 'NULL'} ELSE {OLD}.{name} END"


def _greater(parts: Sequence[_Part], tie: str | None = None, column: str = "") -> str:
    """Whether the new (writetime, x[, bytes]) is greater than the old; a new NULL writetime never is.

    CASE keeps the comparison of bytes out of all but ties.
    """
    first = parts[0].name
    new, old = f"{NEW}.{first}", f"{OLD}.{first}"
    rest = "false"
    if tie is not None:
        rest = f"coalesce({tie.format(f'{NEW}.{column}')}, '') > coalesce({tie.format(f'{OLD}.{column}')}, '')"
    for part in reversed(parts[1:]):
        rest = f"CASE WHEN {part.new} = {part.old} THEN {rest} ELSE {part.new} > {part.old} END"
    return (
        f"CASE WHEN {new} IS NULL THEN false WHEN {old} IS NULL OR {new} > {old} THEN true "
        f"WHEN {new} < {old} THEN false ELSE {rest} END"
    )
