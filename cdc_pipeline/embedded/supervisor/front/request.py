"""A request's parameters: what ClickHouse's HTTP interface takes from the URL and the headers."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import parse_qsl

from .engine import refusal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_TRANSPORT = {  # what is about HTTP, or about parts of a server that chDB has not
    "buffer_size", "cancel_http_readonly_queries_on_client_close", "client_protocol_version", "compress", "decompress",
    "enable_http_compression", "http_headers_progress_interval_ms", "quota_key", "role",
    "send_progress_in_http_headers", "wait_end_of_query",
}  # fmt: skip


@dataclass
class Parameters:
    """The parameters of one request by what they are for; `settings` are those of the query alone."""

    query: str = ""
    database: str = ""
    session: str = ""
    session_seconds: float = 60.0
    session_check: bool = False
    query_id: str = ""
    default_format: str = "TabSeparated"
    credentials: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, value: str) -> None:
        """Put one parameter of the URL or of a form where it belongs."""
        places = {
            "query": "query", "database": "database", "session_id": "session", "query_id": "query_id",
            "default_format": "default_format",
        }  # fmt: skip
        if name in places:
            setattr(self, places[name], value)
        elif name == "session_timeout":
            self.session_seconds = float(value) if value.isdigit() else 60.0
        elif name == "session_check":
            self.session_check = value == "1"
        elif name in ("user", "password"):
            self.credentials[name] = value
        elif name.startswith("param_"):
            self.params[name[len("param_") :]] = value
        elif name not in _TRANSPORT:
            if not _NAME.fullmatch(name):
                raise refusal(f"Unknown setting '{name}'", 115, "UNKNOWN_SETTING")
            self.settings[name] = value


def read_parameters(url_query: str, headers: Message) -> Parameters:
    """The parameters of a request."""
    found = Parameters()
    for name, value in parse_qsl(url_query, keep_blank_values=True):
        found.take(name, value)
    found.database = headers.get("X-ClickHouse-Database", found.database)
    found.default_format = headers.get("X-ClickHouse-Format", found.default_format)
    if "X-ClickHouse-User" in headers:
        found.credentials = {"user": headers["X-ClickHouse-User"], "password": headers.get("X-ClickHouse-Key", "")}
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        found.credentials = {"user": user, "password": password}
    return found


def check_password(credentials: dict[str, str], password: str) -> None:
    """Refuse everybody but the user `default` with its password, as ClickHouse does."""
    user = credentials.get("user", "default")
    given = credentials.get("password", "").encode()
    if not hmac.compare_digest(given, password.encode()) or user != "default":
        raise refusal(
            f"{user}: Authentication failed: password is incorrect, or there is no user with such name.",
            516,
            "AUTHENTICATION_FAILED",
        )
