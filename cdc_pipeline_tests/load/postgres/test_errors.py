"""Which errors of the server are worth another try, which are the rows' and which stop the lane."""

from __future__ import annotations

import psycopg
import pytest

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, SinkError, TransientSinkError
from cdc_pipeline.load.postgres.errors import classified, kind_of

AGAIN, ROWS, STOP = TransientSinkError, RowsRefused, PermanentSinkError

DECIDED: dict[str, type[SinkError]] = {
    "08": AGAIN,
    "08P01": STOP,
    "0A": STOP,  # not supported
    "21": STOP,  # cardinality
    "22": ROWS,
    "23": ROWS,
    "25": STOP,  # transaction state
    "25006": AGAIN,  # a standby until it is promoted
    "25P03": AGAIN,  # idle in transaction for too long
    "25P04": AGAIN,  # transaction_timeout
    "28": STOP,  # password, role
    "3D": STOP,  # no such database
    "3F": STOP,  # no such schema
    "40": AGAIN,  # serialization, deadlock
    "42": STOP,  # syntax, permission, no such table
    "53": AGAIN,  # disk full, memory, too many connections
    "54": ROWS,
    "54001": STOP,
    "54011": STOP,
    "54023": STOP,
    "55": STOP,  # not in the state that it must be in
    "55006": AGAIN,  # in use
    "55P03": AGAIN,  # locked
    "57": AGAIN,  # shutdown, crash, starting, cancelled
    "58": AGAIN,  # system, input and output
    "58P01": STOP,
    "58P02": STOP,
    "72000": AGAIN,
    "P0": STOP,  # raised by somebody's trigger
    "XX": STOP,  # data or index corrupted
    "XX000": AGAIN,
}
"""By state, else by class."""

STATES = sorted(
    {
        str(kind.sqlstate)
        for kind in vars(psycopg.errors).values()
        if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
    }
)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_decided(state: str) -> None:
    """Every SQLSTATE that the driver knows is tried again, looked for in the rows, or stops the lane, as listed."""
    wanted = DECIDED.get(state, DECIDED.get(state[:2], STOP))
    assert kind_of(state) is wanted
    found = classified(psycopg.errors.lookup(state)("a row with a secret in it"), "warehouse", "loading")
    assert type(found) is wanted
    assert state in str(found)
    assert "secret" not in str(found)


def test_what_is_listed_exists() -> None:
    """No decision is about a state or class that the driver does not know."""
    assert [one for one in DECIDED if not any(state.startswith(one) for state in STATES) and one != "25P04"] == []


@pytest.mark.parametrize(
    ("said", "kind", "meaning"),
    [
        ('FATAL:  password authentication failed for user "secret"', STOP, "the password is wrong"),
        ("fe_sendauth: no password supplied", STOP, "a password is asked for"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', STOP, "pg_hba.conf"),
        ('FATAL:  database "secret" does not exist', STOP, "the database or role does not exist"),
        ('root certificate file "secret" does not exist', STOP, "no encrypted connection"),
        ("FATAL:  sorry, too many clients already", AGAIN, "no connection left"),
        ("FATAL:  remaining connection slots are reserved for roles", AGAIN, "no connection left"),
        ("FATAL:  the database system is starting up", AGAIN, "starting or stopping"),
        ("FATAL:  the database system is not yet accepting connections", AGAIN, "starting or stopping"),
        ("Connection refused", AGAIN, "cannot be reached"),
        ('could not translate host name "secret" to address', AGAIN, "cannot be reached"),
        ("server closed the connection unexpectedly", AGAIN, "cannot be reached"),
    ],
)
def test_words_of_libpq(said: str, kind: type[SinkError], meaning: str) -> None:
    """Before a session there is no SQLSTATE; the words decide, and none of them goes on."""
    found = classified(psycopg.OperationalError(said), "warehouse", "claiming the lane")
    assert type(found) is kind
    assert meaning in str(found)
    assert "secret" not in str(found)
