"""Where a ClickHouse server answers, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Address:
    """ClickHouse's HTTP interface; timeouts in seconds. With `secure` its certificate is checked if `verify`, against
    the file `ca_cert` where there is one."""

    host: str
    port: int
    username: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False
    verify: bool = True
    ca_cert: str | None = None
    connect_timeout: float = 10.0
    send_receive_timeout: float = 300.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
