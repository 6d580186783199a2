"""PostgreSQL's errors as ours, by SQLSTATE; the driver's text may hold values and never goes on.

Another try is worth it where the server, its disk, its memory, its operators or another session were in the way; rows
are at fault where their values were; everything else fails alike however often it is tried, and stops the lane.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, SinkError, TransientSinkError

TRANSIENT, ROWS, PERMANENT = TransientSinkError, RowsRefused, PermanentSinkError

_CLASSES: dict[str, type[SinkError]] = {
    "08": TRANSIENT,  # connection exceptions
    "22": ROWS,  # data
    "23": ROWS,  # constraints
    "40": TRANSIENT,  # rollbacks: serialization, deadlock
    "53": TRANSIENT,  # disk full, out of memory, too many connections
    "54": ROWS,  # limits, such as an index entry that is too long
    "57": TRANSIENT,  # an operator: shutdown, crash, starting up, cancelled, a timeout
    "58": TRANSIENT,  # input and output of the server's machine
}
_STATES: dict[str, type[SinkError]] = {
    "08P01": PERMANENT,  # bytes of ours that the server did not understand: another try would send them again
    "25006": TRANSIENT,  # read only: a standby until it is promoted
    "25P03": TRANSIENT,  # this session idled too long in its transaction: its process was paused
    "25P04": TRANSIENT,  # the transaction took longer than transaction_timeout
    "54001": PERMANENT,  # a statement too complex, with too many columns or arguments: ours, not the rows'
    "54011": PERMANENT,
    "54023": PERMANENT,
    "55006": TRANSIENT,  # in use by another session
    "55P03": TRANSIENT,  # locked by another session for too long
    "58P01": PERMANENT,  # a file is missing, or there twice: an extension's library, a damaged folder
    "58P02": PERMANENT,
    "72000": TRANSIENT,  # snapshot too old
    "XX000": TRANSIENT,  # two sessions in each other's DDL, mostly ("tuple concurrently updated")
}
"""States that are decided otherwise than their class; a class that is not named is permanent."""

_SAID_BEFORE_A_SESSION: tuple[tuple[str, type[SinkError], str], ...] = (
    (r"password authentication failed", PERMANENT, "the password is wrong"),
    (r"no password supplied", PERMANENT, "a password is asked for"),
    (r"no pg_hba\.conf entry", PERMANENT, "the server's pg_hba.conf does not let this user in"),
    (r'(database|role) ".*" does not exist', PERMANENT, "the database or role does not exist"),
    (r"certificate|does not support SSL", PERMANENT, "no encrypted connection can be made as it is configured"),
    (r"too many (clients|connections)|connection slots", TRANSIENT, "the server has no connection left"),
    (r"starting up|shutting down|not (yet )?accepting|recovery", TRANSIENT, "the server is starting or stopping"),
)
"""libpq gives no SQLSTATE for these, only words."""


@contextmanager
def translated(destination: str, doing: str) -> Iterator[None]:
    """Turns psycopg's errors into `SinkError`s that say where and what."""
    try:
        yield
    except psycopg.Error as error:
        raise classified(error, destination, doing) from None


def classified(error: psycopg.Error, destination: str, doing: str) -> SinkError:
    """The kind by SQLSTATE: `kind_of`; of an error without one by libpq's words."""
    state = error.sqlstate
    if state is None:
        return _without_state(error, destination, doing)
    diagnostic = error.diag
    place = ".".join(part for part in (diagnostic.table_name, diagnostic.column_name) if part)
    where = f" at {place}" if place else ""
    message = f"destination {destination}: {doing} failed with SQLSTATE {state} ({type(error).__name__}){where}"
    kind = kind_of(state)
    return RowsRefused(message, state) if kind is RowsRefused else kind(message)


def kind_of(state: str) -> type[SinkError]:
    """What is done about a SQLSTATE: try again, find the rows at fault, or stop."""
    return _STATES.get(state) or _CLASSES.get(state[:2], PERMANENT)


def _without_state(error: psycopg.Error, destination: str, doing: str) -> SinkError:
    """libpq's own errors: a refused or broken connection, or, before a session, the server's refusal as text."""
    said = str(error)
    for sign, kind, meaning in _SAID_BEFORE_A_SESSION:
        if re.search(sign, said):
            return kind(f"destination {destination}: {doing} failed: {meaning}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return TransientSinkError(f"destination {destination}: {doing} failed: the server cannot be reached")
    return PermanentSinkError(f"destination {destination}: {doing} failed ({type(error).__name__})")
