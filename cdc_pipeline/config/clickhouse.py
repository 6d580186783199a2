"""ClickHouse as a destination: where it answers, what users see, how often it is written to."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc_pipeline.config.batch import LargeBatch
from cdc_pipeline.config.place import DropSettings, Place
from cdc_pipeline.config.section import FilePath, SecretField, Section
from cdc_pipeline.config.source import Duration, Port
from cdc_pipeline.errors import ConfigurationError

_SCHEMES = {"clickhouse": False, "http": False, "clickhouses": True, "https": True}
_HTTP, _HTTPS = 8123, 8443


class Endpoint(NamedTuple):
    """An HTTP interface and a user of it; `ca_cert` is a file of certificates, None the system's own."""

    host: str
    port: int
    username: str
    password: str
    secure: bool
    verify: bool = True
    ca_cert: str | None = None


class ClickHouseConnection(Section):
    """ClickHouse's HTTP interface; `dsn` is `clickhouse://user:password@host:port` (`https://` with TLS), which the
    others complete. `ca_cert` and `verify` say which certificates are believed."""

    host: str | None = None
    port: Port | None = None
    username: str | None = None
    password: SecretField | None = None
    secure: bool | None = None
    ca_cert: FilePath | None = None
    verify: bool = True
    dsn: SecretField | None = None

    def endpoint(self) -> Endpoint:
        """Where the server answers; holds the password, so it is not for printing. `ConfigurationError` for a dsn that
        is none."""
        given = _of_dsn(self.dsn.reveal()) if self.dsn is not None else Endpoint("", 0, "default", "", False)
        secure = self.secure if self.secure is not None else given.secure or self.port == _HTTPS
        return Endpoint(
            self.host or given.host,
            self.port or given.port or (_HTTPS if secure else _HTTP),
            self.username or given.username,
            self.password.reveal() if self.password is not None else given.password,
            secure,
            self.verify,
            str(self.ca_cert) if self.ca_cert is not None else None,
        )


def _of_dsn(dsn: str) -> Endpoint:
    """Without a port 0: the scheme's own."""
    try:
        parts = urlsplit(dsn)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _SCHEMES:
        raise ConfigurationError("expected a dsn as clickhouse://user:password@host:8123 or https://…, found another")
    if parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigurationError(
            "expected a dsn that ends with host and port: state_database, prefix and settings say what comes behind"
        )
    user, password = unquote(parts.username or "default"), unquote(parts.password or "")
    return Endpoint(host, port or 0, user, password, _SCHEMES[parts.scheme] or port == _HTTPS)


class ClickHouseSettings(ClickHouseConnection, BaseSettings):
    """ClickHouse from the environment alone: CDC_CLICKHOUSE_HOST and so on, a name per field."""

    model_config = SettingsConfigDict(env_prefix="CDC_CLICKHOUSE_", extra="ignore", env_ignore_empty=True)


class ClusterSettings(Section):
    """A cluster of ClickHouse servers: all DDL goes `ON CLUSTER name`. `replicated` tables keep their log at `path` for
    `replica` (macros of the servers); `distributed` adds a table over all shards, which users then read."""

    name: str = Field(min_length=1)
    replicated: bool = True
    path: str = "/clickhouse/tables/{shard}/{database}/{table}"
    replica: str = "{replica}"
    distributed: bool = False


def _as_text(value: object) -> object:
    return str(int(value)) if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value


def _matching(pattern: str, expected: str) -> AfterValidator:
    def checked(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError(
                "name", "expected {expected}, found {found}", {"expected": expected, "found": value}
            )
        return value

    return AfterValidator(checked)


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_Identifier = Annotated[str, _matching(_NAME, "letters, digits and _, no digit first")]
_Prefix = Annotated[str, _matching(f"({_NAME})?", "letters, digits and _, no digit first")]
_SettingName = Annotated[str, _matching(r"[a-z][a-z0-9_]*", "lower case letters, digits and _")]
_SettingValue = Annotated[str, BeforeValidator(_as_text)]


class ClickHouseDestination(ClickHouseConnection, Place):
    """A ClickHouse server, or an embedded one in `directory`.

    Users read views: `exact` ones show a row as Cassandra would, `fast` ones, those that `visibility_tables` names, by
    its last write alone. `pace` is the least time between two inserts while less than a micro-batch waits.
    """

    _where: ClassVar[frozenset[str]] = frozenset(
        {"host", "port", "username", "password", "secure", "ca_cert", "verify", "dsn", "cluster"}
    )

    kind: Literal["clickhouse"]
    visibility: Literal["exact", "fast"] = "exact"
    visibility_tables: tuple[str, ...] = ("*",)
    state_database: _Identifier = "cdc"
    prefix: _Prefix = ""
    on_drop: DropSettings = DropSettings()
    cluster: ClusterSettings | None = None
    settings: dict[_SettingName, _SettingValue] = Field(default_factory=dict)
    pace: Duration = timedelta(milliseconds=500)
    batch: LargeBatch = LargeBatch()

    @property
    def fast_tables(self) -> tuple[str, ...] | None:
        """The patterns of what is shown by its rows' last writes; None: nothing is."""
        return self.visibility_tables if self.visibility == "fast" else None

    @model_validator(mode="after")
    def _only_with_fast(self) -> Self:
        if self.visibility == "exact" and "visibility_tables" in self.model_fields_set:
            raise PydanticCustomError("visibility", "expected visibility_tables only with visibility: fast")
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "database" in data:
            message = "expected state_database (what is ours) or prefix (of what users read), found database"
            raise PydanticCustomError("database", message)
        return data
