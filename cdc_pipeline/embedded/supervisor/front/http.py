"""The HTTP side: one request in, ClickHouse's answer out."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from .body import CutOff, pieces
from .engine import EngineError
from .execution import Answer, Executor
from .request import check_password, read_parameters

_MOST_UNREAD = 64 << 20
_BAD_REQUEST = {6, 26, 27, 33, 36, 38, 41, 53, 62, 69, 72, 117, 130, 131, 167, 168}
_NOT_FOUND = {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336}
_STATUS = {229: 413, 194: 401, 192: 403, 193: 403, 516: 403, 48: 501, 209: 503, 439: 503}


def http_status(code: int) -> int:
    """The HTTP status that ClickHouse gives an error of this number."""
    if code in _STATUS:
        return _STATUS[code]
    return 400 if code in _BAD_REQUEST else 404 if code in _NOT_FOUND else 500


class Server(ThreadingHTTPServer):
    """Listens on loopback; a thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, executor: Executor, password: str) -> None:
        self.executor = executor
        self.password = password
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """As the parent's parent: the parent asks a name server who 127.0.0.1 is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is none of the log's business."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, kept alive over its requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 18
    wbufsize = 1 << 16
    timeout = 3600
    server: Server

    def handle(self) -> None:
        with suppress(ConnectionError, CutOff, TimeoutError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: a statement may hold values."""

    def do_GET(self) -> None:
        self._serve(reads_only=True)

    def do_HEAD(self) -> None:
        self._send(200, "Ok.\n", {})

    def do_POST(self) -> None:
        self._serve(reads_only=False)

    def _no_handle(self) -> None:
        self.close_connection = True
        self._send(404, f"There is no handle {self.path}\n\nUse / or /ping for health checks.\n", {})

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _no_handle

    def _serve(self, *, reads_only: bool) -> None:
        address = urlsplit(self.path)
        if address.path == "/ping":
            self._send(200, "Ok.\n", {})
            return
        if address.path != "/":
            self._no_handle()
            return
        body = pieces(self.rfile, self.headers)
        query_id = ""
        try:
            parameters = read_parameters(address.query, self.headers)
            query_id = parameters.query_id = parameters.query_id or str(uuid.uuid4())
            check_password(parameters.credentials, self.server.password)
            answers = self.server.executor.run(parameters, body, self.headers, reads_only=reads_only)
            self._answer(answers, query_id)
        except EngineError as error:
            self._refuse(error, body, query_id)

    def _answer(self, answers: Generator[Answer, None, None], query_id: str) -> None:
        """Send an answer that is known to be good so far; one that fails later breaks off, as HTTP has it."""
        with closing(answers):
            first = next(answers)
            headers = {**self._headers(query_id), **first.headers}
            if first.whole:
                self._send(200, first.body, headers)
                return
            tag = uuid.uuid4().hex[:16]
            self._begin(200, {**headers, "Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": tag})
            try:
                self._chunk(first.body)
                for answer in answers:
                    self._chunk(answer.body)
            except EngineError as error:
                text = f"{error.text}\n"
                self._chunk(
                    f"\r\n__exception__\r\n{tag}\r\n{text}{len(text.encode())} {tag}\r\n__exception__\r\n".encode()
                )
                self.wfile.flush()
                self.close_connection = True  # without the last chunk: the client must not take it for whole
                return
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, error: EngineError, body: Iterator[bytes], query_id: str) -> None:
        unread = 0
        with suppress(CutOff):
            for piece in body:  # else the client would find its connection reset, and no answer
                unread += len(piece)
                if unread > _MOST_UNREAD:
                    break
        self.close_connection = self.close_connection or unread > _MOST_UNREAD
        headers = {**self._headers(query_id), "X-ClickHouse-Exception-Code": str(error.code)}
        self._send(http_status(error.code), error.text + "\n", headers)

    def _headers(self, query_id: str) -> dict[str, str]:
        executor = self.server.executor
        return {
            "X-ClickHouse-Server-Display-Name": "embedded",
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": executor.engine.timezone,
        }

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Connection", "close" if self.close_connection else "Keep-Alive")
        for name, value in {"Content-Type": "text/plain; charset=UTF-8", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, status: int, body: str | bytes | memoryview, headers: dict[str, str]) -> None:
        payload = body.encode() if isinstance(body, str) else body
        self._begin(status, {**headers, "Content-Length": str(len(payload))})
        if self.command != "HEAD":
            self.wfile.write(payload)

    def _chunk(self, body: bytes | memoryview) -> None:
        if len(body):
            self.wfile.write(f"{len(body):x}\r\n".encode())
            self.wfile.write(body)
            self.wfile.write(b"\r\n")

    def version_string(self) -> str:
        return "chDB front"
