"""PostgreSQL's errors as ours, by SQLSTATE class; the driver's text may hold values and never goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, SinkError, TransientSinkError

_TRANSIENT_CLASSES = frozenset({"08", "53", "57"})
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03", "55006", "25006", "XX000"})
_DATA_CLASSES = frozenset({"22", "23", "54"})
_PERMANENT_STATES = frozenset(
    {
        "28P01",  # wrong password
        "28000",
        "3D000",  # no such database
        "08P01",  # bytes of ours that the server did not understand: another try would send them again
    }
)


@contextmanager
def translated(destination: str, doing: str) -> Iterator[None]:
    """Turns psycopg's errors into `TransientSinkError` or `PermanentSinkError` that say where and what."""
    try:
        yield
    except psycopg.Error as error:
        raise classified(error, destination, doing) from None


def classified(error: psycopg.Error, destination: str, doing: str) -> SinkError:
    """The class by SQLSTATE: connection, resources, operator intervention, serialization are worth another try."""
    state = error.sqlstate
    diagnostic = error.diag
    place = ".".join(part for part in (diagnostic.table_name, diagnostic.column_name) if part)
    where = f" at {place}" if place else ""
    if state is None:
        return _without_state(error, destination, doing)
    message = f"destination {destination}: {doing} failed with SQLSTATE {state} ({_name(error)}){where}"
    if state[:2] in _DATA_CLASSES:
        return RowsRefused(message)
    transient = state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES
    if transient and state not in _PERMANENT_STATES:
        return TransientSinkError(message)
    return PermanentSinkError(message)


def _without_state(error: psycopg.Error, destination: str, doing: str) -> SinkError:
    """libpq's own errors: a refused or broken connection, or, before a session, the server's refusal as text."""
    text = str(error)
    for sign, meaning in (
        ("password authentication failed", "the password is wrong"),
        ("no password supplied", "a password is asked for"),
        ("no pg_hba.conf entry", "the server's pg_hba.conf does not let this user in"),
        ("does not exist", "the database or role does not exist"),
    ):
        if sign in text:
            return PermanentSinkError(f"destination {destination}: {doing} failed: {meaning}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return TransientSinkError(f"destination {destination}: {doing} failed: the server cannot be reached")
    return PermanentSinkError(f"destination {destination}: {doing} failed ({_name(error)})")


def _name(error: psycopg.Error) -> str:
    return type(error).__name__
