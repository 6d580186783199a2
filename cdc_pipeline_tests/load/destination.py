"""A real PostgreSQL with a sink in front of it, and short ways to fill it and to look into it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import psycopg

from cdc_pipeline.change import ChangeBatch, Position
from cdc_pipeline.dlq import DeadLetterEvent
from cdc_pipeline.fitting import Fitted, Fitter
from cdc_pipeline.load import Parity, Truncation
from cdc_pipeline.load.postgres import PostgresSink
from cdc_pipeline.offsets import Lane, LaneState
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline_tests.load.changes import Change, batch
from cdc_pipeline_tests.load.reference import Row

LANE = Lane("warehouse", "node1")
UNMASKED = MaskingRules(pii_fields=(), phi_fields=())


@dataclasses.dataclass
class Destination:
    """Tables of one database behind one sink, as one lane fills it."""

    conninfo: str
    tables: tuple[Table, ...]
    rules: MaskingRules = UNMASKED
    ring: KeyRing | None = None
    profile: str = "native"
    overrides: dict[str, str] = dataclasses.field(default_factory=dict)
    make_sink: Callable[..., PostgresSink] = PostgresSink

    def __post_init__(self) -> None:
        policy = MaskingPolicy(self.rules, self.ring)
        self.sink = self.make_sink("warehouse", self.conninfo, self.profile, self.overrides)
        self.masks = {table.full_name: TableMasks(policy, table) for table in self.tables}
        self.fitter = Fitter(LANE, lambda table: self.masks[table.full_name], self.sink)

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()

    def prepare(self) -> Destination:
        """Makes the tables."""
        self.sink.prepare([(masks.table, masks) for masks in self.masks.values()])
        return self

    def fit(self, batch: ChangeBatch) -> Fitted:
        """What may be sent of a batch."""
        return self.fitter.fit(batch)

    def load(self, *batches: ChangeBatch) -> list[DeadLetterEvent]:
        """Loads batches, a transaction each, without an offset; returns what was parked."""
        parked: list[DeadLetterEvent] = []
        for one in batches:
            fitted = self.fit(one)
            self.sink.load(LANE, [fitted.encoded], fitted.letters, end_of(one))
            parked += fitted.letters
        return parked

    def truncate(self, table: Table, ts: int) -> None:
        """Empties a table at a time (µs), as TRUNCATE in the log does."""
        self.sink.load(LANE, [], [], Position("CommitLog-7-1.log", 1), [Truncation(table, ts)])

    def deliver(self, table: Table, delivered: Iterable[Sequence[Change] | int]) -> list[Change]:
        """Loads batches of changes, and truncations at a time (µs); returns the changes that were not parked."""
        loaded: list[Change] = []
        for one in delivered:
            if isinstance(one, int):
                self.truncate(table, one)
                continue
            parked = {letter.position.offset for letter in self.load(batch(table, one))}
            loaded += [change for number, change in enumerate(one, 1) if (change.at or 100 * number) not in parked]
        return loaded

    def apply(self, held: LaneState, *batches: ChangeBatch) -> LaneState:
        """Applies batches in one transaction, with the offset behind the last."""
        fitted = [self.fit(batch) for batch in batches]
        letters = [letter for one in fitted for letter in one.letters]
        events = sum(batch.changes for batch in batches)
        return self.sink.apply(held, [one.encoded for one in fitted], letters, end_of(batches[-1]), events)

    def compare(self, table: Table, truth: Iterable[Row], now: int) -> Parity:
        """The view at a time (s since 1970) against rows of serialized values."""
        masks = self.masks[table.full_name]
        as_of = dt.datetime.fromtimestamp(now, dt.UTC).isoformat()
        return self.sink.compare(table, masks, truth, as_of)

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a query, on a connection of its own."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters or None).fetchall()


def end_of(batch: ChangeBatch) -> Position:
    """The position behind a batch."""
    return Position(batch.segment, batch.rows.column("position")[-1].as_py())


def state_of(
    conninfo: str, without: Sequence[str] = ("cdc_offsets", "cdc_segments", "dead_letters")
) -> dict[str, list[str]]:
    """Every row of every state table as text, sorted: what must be the same whatever the order of loading."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        listed = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'cdc' ORDER BY 1").fetchall()
        names = [name for (name,) in listed if name not in without]
        return {name: _rows(connection, name) for name in names}


def _rows(connection: psycopg.Connection[Any], name: str) -> list[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    columns = [column for (column,) in connection.execute(query, (f"cdc.{_quoted(name)}",)).fetchall()]
    listed = ", ".join(_quoted(column) for column in columns if column not in _WHEN)
    query = f"SELECT row({listed})::text FROM cdc.{_quoted(name)} ORDER BY 1"
    return [text for (text,) in connection.execute(query.encode()).fetchall()]


_WHEN = ("r:seen", "applied")
"""When something was applied here, or seen to be dead."""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
