"""A TCP proxy before a server that cuts a connection at a COMMIT: before it, behind it, or in between.

Over HTTP the statement that counts, an INSERT for one, is what a COMMIT is to PostgreSQL.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from enum import Enum

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdc_pipeline_tests.chaos.forwarding import Forwarder, closed, received

_HELD_SECONDS = 0.4


class Cut(Enum):
    """Where a connection is cut."""

    BEFORE = "the COMMIT never reaches the server"
    REPLY = "the server has committed, its reply is lost"
    SENT = "the COMMIT is on its way when the client's side is cut"
    LATE = "the COMMIT arrives when the client is back already"
    PART = "half of what holds the COMMIT reaches the server"


class TcpProxy(Forwarder):
    """Forwards to a server's (host, port); `decide` is asked at each piece with `mark` in it."""

    def __init__(self, server: tuple[str, int], mark: bytes, decide: Callable[[int], Cut | None]) -> None:
        super().__init__(server)
        self._mark = mark
        self._decide = decide
        self._lock = threading.Lock()
        self.commits = 0
        self.cuts: list[Cut] = []

    def joined(self, client: socket.socket, server: socket.socket) -> None:
        lost = threading.Event()
        self.start(self._forward, client, server, lost)
        self.start(_answer, client, server, lost)

    def _forward(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        """From the client to the server. A client sends the mark in one piece, and waits for its reply."""
        while data := received(client):
            cut = self._cut() if self._mark in data else None
            if cut is Cut.REPLY:
                lost.set()
            if cut is Cut.PART:
                with contextlib.suppress(OSError):
                    server.sendall(data[: len(data) // 2])
            if cut in (Cut.BEFORE, Cut.PART):
                break
            if cut in (Cut.SENT, Cut.LATE):
                closed(client)
            if cut is Cut.LATE:
                time.sleep(_HELD_SECONDS)
            with contextlib.suppress(OSError):
                server.sendall(data)
            if cut in (Cut.SENT, Cut.LATE):
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
                return
        closed(client)
        closed(server)

    def _cut(self) -> Cut | None:
        with self._lock:
            self.commits += 1
            cut = self._decide(self.commits)
            if cut is not None:
                self.cuts.append(cut)
            return cut


class Proxy(TcpProxy):
    """Forwards to the server of libpq's connection string; `decide` is asked at each COMMIT."""

    def __init__(self, conninfo: str, decide: Callable[[int], Cut | None]) -> None:
        parts = conninfo_to_dict(conninfo)
        super().__init__((str(parts["host"]), int(str(parts["port"]))), b"COMMIT\0", decide)
        self._conninfo = conninfo

    @property
    def conninfo(self) -> str:
        """The way through the proxy; nothing is encrypted, so that it can be read."""
        return make_conninfo(self._conninfo, host="127.0.0.1", port=self.port, sslmode="disable", gssencmode="disable")


def _answer(client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
    """From the server to the client, until its answer is to be lost."""
    while (data := received(server)) and not lost.is_set():
        try:
            client.sendall(data)
        except OSError:
            break
    closed(client)
    if lost.is_set():
        closed(server)
