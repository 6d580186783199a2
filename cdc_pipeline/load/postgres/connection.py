"""A connection of a lane: how long it waits for a server, and how long a server waits for it.

What a connection string, a role or a server's configuration says otherwise wins.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "cdc_pipeline",
}
"""A server that vanished without a word is noticed within a minute, not within the kernel's two hours."""

LONGEST_PAUSE = "60s"
"""How long a process may pause inside a transaction: then the server ends its session, and with it its hold of the
lane, so that a writer that was suspended, or whose machine vanished, does not keep its successor waiting."""

_PAUSE = """
SELECT set_config('idle_in_transaction_session_timeout', %s, false)
WHERE current_setting('idle_in_transaction_session_timeout') = '0'
"""


def connect(conninfo: str, pause: str = LONGEST_PAUSE, commit: str | None = None) -> psycopg.Connection[Any]:
    """A new connection, whose own transactions are the caller's business; `commit`: its `synchronous_commit`."""
    given = conninfo_to_dict(conninfo)
    missing: dict[str, Any] = {name: value for name, value in _DEFAULTS.items() if name not in given}
    connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None, client_encoding="utf8", **missing)
    connection.execute(_PAUSE, (pause,))
    if commit is not None:
        connection.execute("SELECT set_config('synchronous_commit', %s, false)", (commit,))
    return connection
