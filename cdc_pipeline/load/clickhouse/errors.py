"""ClickHouse's errors as ours, by their codes (`src/Common/ErrorCodes.cpp`); the server's text may hold values and
never goes on.

Another try is worth it where the server, its disk, its memory, its operators or another session were in the way; rows
are at fault where their values were; everything else fails alike however often it is tried, and stops the lane.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import urllib3.exceptions
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, OperationalError

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, SinkError, TransientSinkError

TRANSIENT, ROWS, PERMANENT = TransientSinkError, RowsRefused, PermanentSinkError

UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81
MEMORY_LIMIT_EXCEEDED = 241
TIMEOUT_EXCEEDED = 159
_CANNOT_READ_ALL_DATA = 33

_CODES: dict[int, tuple[type[SinkError], str]] = {
    6: (ROWS, "CANNOT_PARSE_TEXT"),
    26: (ROWS, "CANNOT_PARSE_QUOTED_STRING"),
    27: (ROWS, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    53: (ROWS, "TYPE_MISMATCH"),
    69: (ROWS, "ARGUMENT_OUT_OF_BOUND"),
    70: (ROWS, "CANNOT_CONVERT_TYPE"),
    117: (ROWS, "INCORRECT_DATA"),
    131: (ROWS, "TOO_LARGE_STRING_SIZE"),
    321: (ROWS, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
    349: (ROWS, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    407: (ROWS, "DECIMAL_OVERFLOW"),
    469: (ROWS, "VIOLATED_CONSTRAINT"),
    159: (TRANSIENT, "TIMEOUT_EXCEEDED"),
    164: (TRANSIENT, "READONLY"),
    202: (TRANSIENT, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    203: (TRANSIENT, "NO_FREE_CONNECTION"),
    209: (TRANSIENT, "SOCKET_TIMEOUT"),
    210: (TRANSIENT, "NETWORK_ERROR"),
    225: (TRANSIENT, "NO_ZOOKEEPER"),
    236: (TRANSIENT, "ABORTED"),
    241: (TRANSIENT, "MEMORY_LIMIT_EXCEEDED"),
    242: (TRANSIENT, "TABLE_IS_READ_ONLY"),
    243: (TRANSIENT, "NOT_ENOUGH_SPACE"),
    252: (TRANSIENT, "TOO_MANY_PARTS"),
    254: (TRANSIENT, "NO_ACTIVE_REPLICAS"),
    279: (TRANSIENT, "ALL_CONNECTION_TRIES_FAILED"),
    285: (TRANSIENT, "TOO_FEW_LIVE_REPLICAS"),
    286: (TRANSIENT, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"),
    319: (TRANSIENT, "UNKNOWN_STATUS_OF_INSERT"),
    341: (TRANSIENT, "UNFINISHED"),
    394: (TRANSIENT, "QUERY_WAS_CANCELLED"),
    439: (TRANSIENT, "CANNOT_SCHEDULE_TASK"),
    473: (TRANSIENT, "DEADLOCK_AVOIDED"),
    517: (TRANSIENT, "CANNOT_ASSIGN_ALTER"),
    745: (TRANSIENT, "SERVER_OVERLOADED"),
    999: (TRANSIENT, "KEEPER_EXCEPTION"),
}
"""What is decided otherwise than PERMANENT."""

_PLAIN = {
    60: "a table of the state is not there any more",
    164: "the server or this user is read only",
    192: "the user does not exist",
    193: "the password is wrong",
    194: "a password is asked for",
    195: "this user may not come from here",
    291: "this user may not use the database",
    497: "this user lacks a privilege for it",
    516: "the user or the password is wrong",
}


_CONNECTION = (
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
)
"""What may come from below the driver."""


@contextmanager
def translated(destination: str, doing: str) -> Iterator[None]:
    """Turns the driver's errors, and those from below it, into `SinkError`s that say where and what."""
    try:
        yield
    except ClickHouseError as error:
        raise classified(error, destination, doing) from None
    except _CONNECTION as error:
        raise _unanswered(error, f"destination {destination}: {doing} failed") from None
    except pa.ArrowException as error:
        raise PermanentSinkError(f"destination {destination}: {doing} failed ({type(error).__name__})") from None


def classified(error: ClickHouseError, destination: str, doing: str) -> SinkError:
    """The kind by the server's code; an error without one is the connection's, or of something before the server."""
    code = code_of(error)
    where = f"destination {destination}: {doing} failed"
    if code is None:
        return _unanswered(error, where)
    name = getattr(error, "name", None) if code == getattr(error, "code", None) else None
    kind, name = _CODES.get(code, (PERMANENT, str(name or "")))
    if code in _PLAIN:
        return kind(f"{where}: {_PLAIN[code]} (code {code})")
    shown = f"code {code}, {name}" if name else f"code {code}"
    message = f"{where} with {shown}"
    if kind is ROWS:
        return RowsRefused(message, shown)
    failed: SinkError = kind(message)
    return failed


def code_of(error: BaseException) -> int | None:
    """The server's code. Arrow's reader wraps a memory limit that it meets as data that cannot be read."""
    code = error.code if isinstance(error, Error) else None
    if code == _CANNOT_READ_ALL_DATA and f"Code: {MEMORY_LIMIT_EXCEEDED}" in str(error):
        return MEMORY_LIMIT_EXCEEDED
    return code


def _unanswered(error: BaseException, where: str) -> SinkError:
    """Errors that are not the server's word; what is configured wrongly fails for ever, all else may pass."""
    causes = list(_causes(error))
    if any(isinstance(one, ssl.SSLError) and not isinstance(one, _BROKEN_OFF) for one in causes):
        return PermanentSinkError(f"{where}: no encrypted connection can be made as it is configured")
    if any(isinstance(one, socket.gaierror | urllib3.exceptions.NameResolutionError) for one in causes):
        return TransientSinkError(f"{where}: the name of the server is not known")
    if any(isinstance(one, urllib3.exceptions.LocationValueError) for one in causes):
        return PermanentSinkError(f"{where}: the host is none that can be asked for")
    status = re.match(r"HTTP driver received HTTP status (\d{3})", str(error))
    if status is not None:
        kind = TransientSinkError if status[1] in _PASSING or status[1].startswith("5") else PermanentSinkError
        return kind(f"{where}: what answers there is not ClickHouse (HTTP status {status[1]})")
    if isinstance(error, (OperationalError, *_CONNECTION)):
        return TransientSinkError(f"{where}: the server cannot be reached")
    return PermanentSinkError(f"{where} ({type(error).__name__})")


_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_PASSING = ("408", "429")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it: urllib3 keeps that as `reason`, or as an argument."""
    yield error
    inner = [getattr(error, "reason", None), error.__cause__, *error.args]
    for one in inner:
        if isinstance(one, BaseException):
            yield from _causes(one)
