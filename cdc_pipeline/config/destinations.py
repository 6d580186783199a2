"""Where changes go: a union by `kind`, each system with its own connection settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc_pipeline.config.section import FilePath, SecretField, Section
from cdc_pipeline.config.source import Duration, Port

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


class TypeSettings(Section):
    """How CQL types become the destination's; `columns` overrides one: `keyspace.table.column: type`."""

    profile: Literal["native", "exact"] = "native"
    columns: dict[str, str] = Field(default_factory=dict)


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


class ClickHouseConnection(Section):
    """ClickHouse's HTTP interface; `dsn` is a URI of clickhouse-connect."""

    host: str | None = None
    port: Port | None = None
    database: str | None = None
    username: str | None = None
    password: SecretField | None = None
    secure: bool = False
    dsn: SecretField | None = None


class ClickHouseSettings(ClickHouseConnection, BaseSettings):
    """ClickHouse from the environment alone: CDC_CLICKHOUSE_HOST and so on, a name per field."""

    model_config = SettingsConfigDict(env_prefix="CDC_CLICKHOUSE_", extra="ignore", env_ignore_empty=True)


class DropSettings(Section):
    """What follows when Cassandra drops a column (`hide`: users see it no more; `keep`: they go on to see what it held)
    or a table (`keep`; `drop`: what users see of it goes, and its rows)."""

    columns: Literal["hide", "keep"] = "hide"
    tables: Literal["keep", "drop"] = "keep"


class _Place(Section):
    """What every destination has: one way to reach it, and its types."""

    _with_embedded: ClassVar[frozenset[str]] = frozenset(
        {"kind", "embedded", "directory", "types", "dbname", "database", "surface", "surface_tables"}
        | {"on_drop", "synchronous_commit"}
    )

    embedded: bool = False
    directory: FilePath | None = None
    types: TypeSettings = TypeSettings()

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Self:
        ways = [name for name in ("embedded", "dsn", "host") if getattr(self, name, None)]
        if len(ways) != 1:
            found = " and ".join(ways) or "none"
            raise PydanticCustomError(
                "way", "expected exactly one of embedded: true, host or dsn, found {found}", {"found": found}
            )
        if self.embedded and self.directory is None:
            raise PydanticCustomError("way", "expected the directory of the embedded server, found none")
        if self.directory is not None and not self.embedded:
            raise PydanticCustomError("way", "expected directory only with embedded: true")
        idle = sorted(self.model_fields_set - self._with_embedded) if self.embedded else []
        if idle:
            raise PydanticCustomError("way", "expected no {idle} with embedded: true", {"idle": ", ".join(idle)})
        return self


class _PostgresPlace(PostgresConnection, _Place):
    """What PostgreSQL and TimescaleDB share. Users read `view`s of the state, or `table`s kept equal to them, those of
    `surface_tables` names; `synchronous_commit` is the server's own unless set here."""

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


class ClickHouseDestination(ClickHouseConnection, _Place):
    """A ClickHouse server, or an embedded one in `directory`."""

    kind: Literal["clickhouse"]


Destination = Annotated[PostgresDestination | ClickHouseDestination | TimescaleDestination, Field(discriminator="kind")]
