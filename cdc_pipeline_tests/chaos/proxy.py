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
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_HELD_SECONDS = 0.4


class Cut(Enum):
    """Where a connection is cut."""

    BEFORE = "the COMMIT never reaches the server"
    REPLY = "the server has committed, its reply is lost"
    SENT = "the COMMIT is on its way when the client's side is cut"
    LATE = "the COMMIT arrives when the client is back already"
    PART = "half of what holds the COMMIT reaches the server"


class TcpProxy:
    """Forwards to a server's (host, port); `decide` is asked at each piece with `mark` in it. A context manager."""

    def __init__(self, server: tuple[str, int], mark: bytes, decide: Callable[[int], Cut | None]) -> None:
        self._server = server
        self._mark = mark
        self._decide = decide
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.commits = 0
        self.cuts: list[Cut] = []

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 of the way through the proxy."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            _close(one)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            self._sockets += [client, server]
            lost = threading.Event()
            self._start(lambda c=client, s=server, lost=lost: self._forward(c, s, lost))  # type: ignore[misc]
            self._start(lambda c=client, s=server, lost=lost: _answer(c, s, lost))  # type: ignore[misc]

    def _forward(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        """From the client to the server. A client sends the mark in one piece, and waits for its reply."""
        while data := _received(client):
            cut = self._cut() if self._mark in data else None
            if cut is Cut.REPLY:
                lost.set()
            if cut is Cut.PART:
                with contextlib.suppress(OSError):
                    server.sendall(data[: len(data) // 2])
            if cut in (Cut.BEFORE, Cut.PART):
                break
            if cut in (Cut.SENT, Cut.LATE):
                _close(client)
            if cut is Cut.LATE:
                time.sleep(_HELD_SECONDS)
            with contextlib.suppress(OSError):
                server.sendall(data)
            if cut in (Cut.SENT, Cut.LATE):
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
                return
        _close(client)
        _close(server)

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
    while (data := _received(server)) and not lost.is_set():
        try:
            client.sendall(data)
        except OSError:
            break
    _close(client)
    if lost.is_set():
        _close(server)


def _received(of: socket.socket) -> bytes:
    try:
        return of.recv(65536)
    except OSError:
        return b""


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
