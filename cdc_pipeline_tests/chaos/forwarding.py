"""A TCP way to a server through this process; what becomes of a connection is the test's."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Forwarder(ABC):
    """Listens on 127.0.0.1 before a server's (host, port); a context manager, which leaves no thread behind."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    @abstractmethod
    def joined(self, client: socket.socket, server: socket.socket) -> None:
        """Starts what carries bytes between the two sides of a new connection."""

    def admits(self) -> bool:
        """Whether a new connection goes on to the server."""
        return True

    def __enter__(self) -> Self:
        self.start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_all()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def start(self, run: Callable[..., None], *arguments: object) -> None:
        """Runs something in a thread that ends with this."""
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def close_all(self) -> None:
        """Closes both sides of every connection."""
        for one in self._sockets:
            closed(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            try:
                server = socket.create_connection(self._server, timeout=5) if self.admits() else None
            except OSError:
                server = None
            if server is None:
                closed(client)
                continue
            server.settimeout(None)
            self._sockets.append(server)
            self.joined(client, server)


def received(of: socket.socket) -> bytes:
    """What comes next, nothing at the end."""
    try:
        return of.recv(65536)
    except OSError:
        return b""


def closed(one: socket.socket) -> None:
    """Closes a socket that another thread may be reading."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
