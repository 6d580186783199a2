"""Where changes go: a union by `kind`, each system with its own connection settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc_pipeline.config.clickhouse import ClickHouseDestination
from cdc_pipeline.config.place import DropSettings, Place
from cdc_pipeline.config.section import SecretField, Section
from cdc_pipeline.config.source import Duration, Port

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"


class PostgresConnection(Section):
    """libpq's parameters; `dsn` is a whole connection string or URI, which the others complete."""

    host: str | None = None
    port: Port | None = None
    dbname: str | None = None
    user: str | None = None
    password: SecretField | None = None
    sslmode: SslMode | None = None
    dsn: SecretField | None = None

    def conninfo(self) -> str:
        """libpq's connection string; holds the password, so it is not for printing."""
        given = {
            name: value.reveal() if name == "password" else str(value)
            for name in ("host", "port", "dbname", "user", "password", "sslmode")
            if (value := getattr(self, name)) is not None
        }
        if self.dsn is None:
            given = {"connect_timeout": "10", "application_name": "cdc_pipeline", **given}
        dsn = self.dsn.reveal() if self.dsn else ""
        if dsn.startswith(("postgresql://", "postgres://")):
            words = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
            return f"{dsn}{'&' if '?' in dsn else '?'}{words}" if words else dsn
        return " ".join([*filter(None, [dsn]), *(f"{name}={_quoted(value)}" for name, value in given.items())])


class PostgresSettings(PostgresConnection, BaseSettings):
    """PostgreSQL from the environment alone: CDC_POSTGRES_HOST, _PORT, _DBNAME, _USER, _PASSWORD, _SSLMODE, _DSN."""

    model_config = SettingsConfigDict(env_prefix="CDC_POSTGRES_", extra="ignore", env_ignore_empty=True)


class TimescaleSettings(PostgresConnection, BaseSettings):
    """TimescaleDB from the environment alone: CDC_TIMESCALEDB_HOST, …, as PostgreSQL's."""

    model_config = SettingsConfigDict(env_prefix="CDC_TIMESCALEDB_", extra="ignore", env_ignore_empty=True)


class _PostgresPlace(PostgresConnection, Place):
    """What PostgreSQL and TimescaleDB share. Users read `view`s of the state, or `table`s kept equal to them, those of
    `surface_tables` names; `synchronous_commit` is the server's own unless set here."""

    _where: ClassVar[frozenset[str]] = frozenset({"host", "port", "user", "password", "sslmode", "dsn"})

    surface: Literal["view", "table"] = "view"
    surface_tables: tuple[str, ...] = ("*",)
    on_drop: DropSettings = DropSettings()
    synchronous_commit: Literal["on", "off", "local", "remote_write", "remote_apply"] | None = None

    @property
    def kept_tables(self) -> tuple[str, ...] | None:
        """The patterns of what is kept as a table; None: nothing is."""
        return self.surface_tables if self.surface == "table" else None

    @field_validator("synchronous_commit", mode="before")
    @classmethod
    def _yaml_knows_on_and_off(cls, value: object) -> object:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _only_with_table(self) -> Self:
        if self.surface == "view" and "surface_tables" in self.model_fields_set:
            raise PydanticCustomError("surface", "expected surface_tables only with surface: table")
        return self


class PostgresDestination(_PostgresPlace):
    """A PostgreSQL server, or an embedded one in `directory`."""

    kind: Literal["postgres"]


class TimescaleDestination(_PostgresPlace):
    """A TimescaleDB server; there is no embedded one. `hypertables` and `history` are patterns of `keyspace.table`."""

    kind: Literal["timescaledb"]
    hypertables: tuple[str, ...] = ("*",)
    history: tuple[str, ...] = ()
    chunk_interval: Duration = timedelta(days=7)
    compress_after: Duration | None = None

    @field_validator("chunk_interval")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if not value:
            raise PydanticCustomError("span", "expected a span of time, found none")
        return value

    @model_validator(mode="after")
    def _never_embedded(self) -> Self:
        if self.embedded:
            raise PydanticCustomError("way", "expected host or dsn: there is no embedded TimescaleDB")
        return self


Destination = Annotated[PostgresDestination | ClickHouseDestination | TimescaleDestination, Field(discriminator="kind")]
