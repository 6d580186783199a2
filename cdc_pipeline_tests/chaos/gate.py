"""A TCP way to a server that a test closes, holds up or slows: what a lane meets when its server is away."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import Enum
from types import TracebackType
from typing import Self

_SLOW_SECONDS = 0.05
_CHUNK = 4096


class State(Enum):
    """What becomes of connections."""

    OPEN = "all goes through"
    CLOSED = "nobody answers, and who was there is cut off"
    STALLED = "nothing moves, and nobody is told"
    SLOW = "a little at a time"


class Gate:
    """Forwards to a server; a context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.state = State.OPEN
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def set(self, state: State) -> None:
        """From now on."""
        self.state = state
        if state is State.CLOSED:
            for one in self._sockets:
                _close(one)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            _close(one)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            if self.state is State.CLOSED:
                _close(client)
                continue
            try:
                server = socket.create_connection(self._server, timeout=5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            self._sockets.append(server)
            self._start(self._forward, client, server)
            self._start(self._forward, server, client)

    def _forward(self, of: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := of.recv(_CHUNK if self.state is State.SLOW else 65536):
                while self.state is State.STALLED and not self._ended.is_set():
                    time.sleep(0.01)
                if self.state is State.SLOW:
                    time.sleep(_SLOW_SECONDS)
                to.sendall(data)
        _close(of)
        _close(to)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
