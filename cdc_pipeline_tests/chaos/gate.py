"""A TCP way to a server that a test closes, holds up or slows: what a lane meets when its server is away."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import Enum
from types import TracebackType

from cdc_pipeline_tests.chaos.forwarding import Forwarder, closed

_SLOW_SECONDS = 0.05
_CHUNK = 4096


class State(Enum):
    """What becomes of connections."""

    OPEN = "all goes through"
    CLOSED = "nobody answers, and who was there is cut off"
    STALLED = "nothing moves, and nobody is told"
    SLOW = "a little at a time"


class Gate(Forwarder):
    """Forwards to a server as its state says."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port))
        self.state = State.OPEN
        self._ended = threading.Event()

    def set(self, state: State) -> None:
        """From now on."""
        self.state = state
        if state is State.CLOSED:
            self.close_all()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        super().__exit__(kind, error, trace)

    def admits(self) -> bool:
        return self.state is not State.CLOSED

    def joined(self, client: socket.socket, server: socket.socket) -> None:
        self.start(self._forward, client, server)
        self.start(self._forward, server, client)

    def _forward(self, of: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := of.recv(_CHUNK if self.state is State.SLOW else 65536):
                while self.state is State.STALLED and not self._ended.is_set():
                    time.sleep(0.01)
                if self.state is State.SLOW:
                    time.sleep(_SLOW_SECONDS)
                to.sendall(data)
        closed(of)
        closed(to)
