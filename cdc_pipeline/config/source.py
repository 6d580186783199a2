"""Where changes come from: one directory per Cassandra node, the schema, and the keys of encrypted commit logs."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cdc_pipeline.config.section import FilePath, SecretField, Section, Whole

Port = Annotated[Whole, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: object) -> object:
    """`500ms`, `90s`, `30m`, `12h`, `7d` or `2w` as a timedelta."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})(ms|[smhdw])", value.strip()) if isinstance(value, str) else None
    if not match:
        raise PydanticCustomError("duration", "expected a duration as 500ms, 30m, 12h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _print_duration(value: timedelta) -> str:
    if value.microseconds:
        return f"{round(value.total_seconds() * 1000)}ms"
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(_print_duration)]


_SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size(value: object) -> object:
    """`4096MiB`, `4GiB`, … as bytes, spelt as in cassandra.yaml."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d{1,12}) ?(B|KiB|MiB|GiB)", value.strip()) if isinstance(value, str) else None
    if not match:
        raise PydanticCustomError("size", "expected a size as 4096MiB or 4GiB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]


class ShardSettings(Section):
    """One node's CDC directory and limits: `cdc_raw_directory`, `cdc_total_space` and `cdc_block_writes` of its
    cassandra.yaml. Without the last two: Cassandra's default, and not known."""

    directory: FilePath
    cdc_total_space: Size | None = None
    cdc_block_writes: bool | None = None


class FileSchema(Section):
    """`schema.json` (`cdc-pipeline schema export`); `history` is the folder of earlier ones."""

    file: FilePath
    history: FilePath | None = None


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class CassandraConnection(Section):
    """How to reach a cluster."""

    contact_points: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    port: Port = 9042
    username: str | None = None
    password: SecretField | None = None


class CassandraSettings(CassandraConnection, BaseSettings):
    """The cluster from the environment alone: CDC_CASSANDRA_CONTACT_POINTS (split at commas), _PORT, _USERNAME, …"""

    model_config = SettingsConfigDict(env_prefix="CDC_CASSANDRA_", extra="ignore", env_ignore_empty=True)


class ClusterSchema(CassandraConnection):
    """The schema of a live cluster."""

    @field_validator("contact_points")
    @classmethod
    def _at_least_one(cls, points: tuple[str, ...]) -> tuple[str, ...]:
        if not points:
            raise PydanticCustomError("contact_points", "expected at least one host")
        return points


class KeystoreEncryption(Section):
    """The Java keystore of `transparent_data_encryption_options`; `key_password` defaults to `password`."""

    keystore: FilePath
    store_type: Literal["JCEKS", "JKS"] = "JCEKS"
    password: SecretField
    key_password: SecretField | None = None


class KeyFile(Section):
    """A file with the bare key in hexadecimal."""

    file: FilePath


class KeyFileEncryption(Section):
    """The key without a keystore."""

    key: KeyFile


def _schema_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, Section) else {}
    return "<cluster>" if "contact_points" in keys else "<file>"


def _encryption_kind(value: object) -> str:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, Section) else {}
    return "<key>" if "key" in keys else "<keystore>"


SchemaSource = Annotated[
    Annotated[FileSchema, Tag("<file>")] | Annotated[ClusterSchema, Tag("<cluster>")], Discriminator(_schema_kind)
]
Encryption = Annotated[
    Annotated[KeystoreEncryption, Tag("<keystore>")] | Annotated[KeyFileEncryption, Tag("<key>")],
    Discriminator(_encryption_kind),
]


class ArchiveSettings(Section):
    """Where finished segments move, and how long they stay after every lane has passed them."""

    directory: FilePath
    retention: Duration = timedelta(days=7)


class WatchSettings(Section):
    """How changes in `cdc_raw` are noticed: `auto` takes the kernel's notifications where there are some, else looks
    every `interval` seconds; `polling` always does."""

    mode: Literal["auto", "polling"] = "auto"
    interval: Annotated[float, Field(gt=0, le=60)] = 0.02


class SpaceSettings(Section):
    """When a full CDC space is warned of: above `share` of it, or when it will be full within `forecast`."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.75
    forecast: Duration = timedelta(hours=1)


class SourceSettings(Section):
    """The section `source`; `followed_schema` is where changes of the schema are kept when there is no archive;
    `complete_counters` names counter tables of which the log holds every write, whether it tells so or not."""

    shards: dict[Name, ShardSettings]
    schema_source: SchemaSource = Field(alias="schema")
    encryption: Encryption | None = None
    tables: tuple[str, ...] | None = None
    complete_counters: tuple[str, ...] = ()
    archive: ArchiveSettings | None = None
    watch: WatchSettings = WatchSettings()
    space: SpaceSettings = SpaceSettings()
    followed_schema: FilePath = Field(default=Path("followed_schema"), validate_default=True)

    @field_validator("shards")
    @classmethod
    def _at_least_one(cls, shards: dict[str, Any]) -> dict[str, Any]:
        if not shards:
            raise PydanticCustomError("shards", "expected at least one shard as name: {directory: …}")
        return shards

    @field_validator("complete_counters")
    @classmethod
    def _name_tables(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in tables:
            if not re.fullmatch(r"[^!.\s]+\.[^.\s]+", pattern):
                raise PydanticCustomError("glob", "expected keyspace.table, * as a wildcard")
        return tables

    @field_validator("tables")
    @classmethod
    def _are_globs(cls, tables: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for pattern in tables or ():
            if not re.fullmatch(r"!?[^!.\s]+\.[^.\s]+|!?\*", pattern):
                raise PydanticCustomError("glob", "expected keyspace.table, * as a wildcard, ! in front to exclude")
        return tables or None

    @model_validator(mode="after")
    def _one_directory_each(self) -> SourceSettings:
        directories = [shard.directory for shard in self.shards.values()]
        if len(set(directories)) < len(directories):
            raise PydanticCustomError("shards", "expected another directory for every shard, found one twice")
        if self.archive is not None and any(self.archive.directory.is_relative_to(raw) for raw in directories):
            raise PydanticCustomError("archive", "expected an archive outside of cdc_raw, where Cassandra counts files")
        return self
