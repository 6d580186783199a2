"""Whether a server merges unmerged parts as the views ask it to; tried once for each server, with a table of our own.

ClickHouse has answered wrongly, and without an error, for single elements of tuples under `FINAL` (its issues 61161 and
110028). The views read whole tuples below a subquery, which has been right on every server tried; a server that would
push the element down all the same is found here, and its views put rows together by `GROUP BY`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock

import structlog
from clickhouse_connect.driver.exceptions import DatabaseError

from cdc_pipeline.load.clickhouse import ddl, view
from cdc_pipeline.load.clickhouse.connection import Connection
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.plan import TablePlan, make_plan
from cdc_pipeline.schema import Column, ColumnKind, Table
from cdc_pipeline.types import Scalar

Views = Callable[[TablePlan], Sequence[view.View]]

_PARTS = (
    "(`p0`, `r:l`, `v:a`) VALUES (1, (10, 0), (10, 1, 'old')), (2, (10, 0), (10, 1, 'gone'))",
    "(`p0`, `v:a`) VALUES (1, (20, 1, 'new'))",
    f"(`p0`, `r:d`, `v:a`, `v:b`) VALUES (1, 0, (15, {ddl.TOMBSTONE}, ''), (15, 1, 7)), (2, 30, (0, 0, ''), (0, 0, 0))",
)
"""What two rows were told, out of order, a part for each: the first became ('new', 7), the second is gone."""

_ANSWERS: tuple[tuple[str, list[tuple[object, ...]]], ...] = (
    ("SELECT id, a, b FROM {}", [(1, "new", 7)]),
    ("SELECT a FROM {}", [("new",)]),
    ("SELECT b FROM {} WHERE id = 1", [(7,)]),
    ("SELECT id FROM {} WHERE a = 'old'", []),
    ("SELECT count(), max(a), sum(b) FROM {}", [(1, "new", 7)]),
)

_known: dict[str, bool] = {}
_lock = Lock()
log = structlog.get_logger()


def merges_finally(connection: Connection, options: ClickHouseOptions, server: str) -> bool:
    """Whether `FINAL` can be trusted on a server; asked once in a process."""
    with _lock:
        if server not in _known:
            _known[server] = is_right(connection, options, view.views)
            if not _known[server]:
                log.warning("canary", server=server, message="FINAL gave a wrong answer: views will use GROUP BY")
        return _known[server]


def is_right(connection: Connection, options: ClickHouseOptions, views: Views) -> bool:
    """Whether these views answer as they should over parts that are not merged. Leaves nothing behind."""
    plan = _plan(options)
    *made, shown = views(plan)
    made.append(replace(shown, database=options.state_database))
    ((table, columns, key),) = ddl.tables(plan)
    try:
        connection.run(*ddl.create(table, columns, key))
        with contextlib.suppress(DatabaseError):  # a user who may not is as well served by being quick
            connection.run(f"SYSTEM STOP MERGES {table}")
        for part in _PARTS:
            connection.run(f"INSERT INTO {table} {part}")
        for one in made:
            connection.run(one.create(""))
        asked = [(query.format(made[-1].quoted), answer) for query, answer in _ANSWERS]
        return all([tuple(row) for row in connection.rows(query)] == answer for query, answer in asked)
    finally:
        for one in made:
            connection.run(f"DROP VIEW IF EXISTS {one.quoted}")
        connection.run(f"DROP TABLE IF EXISTS {table}")


def _plan(options: ClickHouseOptions) -> TablePlan:
    """A table with a text and a number."""
    columns = (
        Column("id", ColumnKind.PARTITION_KEY, Scalar("int"), 0),
        Column("a", ColumnKind.REGULAR, Scalar("text")),
        Column("b", ColumnKind.REGULAR, Scalar("int")),
    )
    table = Table("canary", f"canary_{uuid.uuid4().hex}", uuid.uuid4(), columns)
    plan = make_plan(table, "native", {}, lambda _: False)
    return replace(plan, state_database=options.state_database)
