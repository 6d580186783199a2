"""What was dropped by hand: nothing is passed as if it were loaded."""

from __future__ import annotations

import pytest

from cdc_pipeline.errors import PermanentSinkError
from cdc_pipeline.load.clickhouse import names
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.clickhouse.destination import ClickHouseDestination
from cdc_pipeline_tests.load.contract import ONE, USERS, user


def test_a_state_table_that_was_dropped(ch_database: ChDatabase) -> None:
    """A running lane stops, and so does the next start, until the user has the table made again; that is then empty."""
    with ClickHouseDestination("", (USERS,), place=ch_database).prepare() as destination:
        held = destination.apply(destination.sink.claim(ONE, "run"), user(1, "x"))
        destination.run(f"DROP TABLE {destination.plan(USERS).state}")
        with pytest.raises(PermanentSinkError, match="a table of the state is not there any more"):
            destination.apply(held, user(2, "y"))
        assert destination.sink.state(ONE) == held
        with pytest.raises(PermanentSinkError, match=r"--all --anew --destination warehouse --table ks\.users"):
            destination.prepare()
        destination.sink.forget("ks.users")
        destination.prepare()
        with ClickHouseDestination("", (USERS,), place=ch_database) as another:
            with pytest.raises(
                PermanentSinkError, match=r"expected table ks\.users whole, found it being loaded again"
            ):
                another.prepare()
            destination.sink.remember("ks.users")
            another.prepare()
        destination.load(user(1, "x"), user(2, "y"))
        assert destination.query("SELECT * FROM {p}ks.users ORDER BY id") == [(1, "x"), (2, "y")]


def test_a_view_that_was_dropped(ch_database: ChDatabase) -> None:
    """It is made again at the next start, whichever of them it was."""
    with ClickHouseDestination("", (USERS,), place=ch_database).prepare() as destination:
        destination.load(user(1, "x"))
        rows = names.quoted(names.state_table(USERS, "rows"))
        for view in (destination.plan(USERS).public, f"`{ch_database.prefix}cdc`.{rows}"):
            destination.run(f"DROP VIEW {view}")
            destination.prepare()
            assert destination.query("SELECT * FROM {p}ks.users") == [(1, "x")]


def test_offsets_that_were_dropped(ch_database: ChDatabase) -> None:
    """A lane begins again, and what comes twice changes nothing."""
    with ClickHouseDestination("", (USERS,), place=ch_database).prepare() as destination:
        destination.apply(destination.sink.claim(ONE, "run"), user(1, "x"))
        destination.run(f"DROP TABLE `{ch_database.prefix}cdc`.cdc_offsets")
        destination.prepare()
        held = destination.sink.claim(ONE, "run 2")
        assert (held.epoch, held.events_processed) == (1, 0)
        assert destination.apply(held, user(1, "x")).events_processed == 1
        assert destination.query("SELECT * FROM {p}ks.users") == [(1, "x")]
