"""One PostgreSQL database for one example after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import reject

from cdc_pipeline.load import Parity
from cdc_pipeline.load.postgres.types import Unfit
from cdc_pipeline.schema import Table
from cdc_pipeline_tests.load.destination import Destination, state_of
from cdc_pipeline_tests.load.merging import Ground
from cdc_pipeline_tests.load.reference import Reference


class PostgresGround(Ground[Destination]):
    """A database that `empty` empties of everything; it merges in the statement that loads."""

    empties = True

    def __init__(self, empty: Callable[[], str]) -> None:
        self._empty = empty

    def loaded(self, of: Table, **how: Any) -> Destination:
        """The database, emptied."""
        return Destination(self._empty(), (of,), **how).prepare()

    def compare(self, there: Destination, state: Reference, now: int) -> Parity:
        """`jsonb` shows one of two map keys that print alike (docs/types.md): such an example is none."""
        try:
            return super().compare(there, state, now)
        except Unfit as error:
            if str(error) != "two map keys that print alike":
                raise
            reject()

    def state(self, there: Destination, of: Table) -> dict[str, list[str]]:
        """Every row of every state table."""
        return state_of(there.conninfo)

    def view(self, there: Destination, of: Table) -> str:
        """Named as in Cassandra."""
        return of.full_name

    def shards(self, there: Destination, of: Table) -> list[int]:
        """An array has one for each."""
        return [count for (count,) in there.query(f'SELECT array_length("v:n", 1) FROM cdc."{of.full_name}"')]

    def ranges(self, there: Destination, of: Table) -> int:
        """A row for each."""
        ((count,),) = there.query(f'SELECT count(*) FROM cdc."{of.full_name}:ranges"')
        return int(count)
