"""From a file and the environment to `Settings`, or one sentence about what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdc_pipeline.config.clickhouse import ClickHouseSettings
from cdc_pipeline.config.destinations import PostgresSettings, TimescaleSettings
from cdc_pipeline.config.messages import sentence
from cdc_pipeline.config.section import Secret
from cdc_pipeline.config.settings import Settings
from cdc_pipeline.config.source import CassandraSettings
from cdc_pipeline.errors import ConfigurationError

_ENVIRONMENT = "environment"
_SYSTEMS: Mapping[str, type[BaseSettings]] = {
    "postgres": PostgresSettings,
    "clickhouse": ClickHouseSettings,
    "timescaledb": TimescaleSettings,
}


class _Sections(BaseSettings):
    """Whole sections as JSON, for a machine without a file: CDC_SOURCE, CDC_DESTINATIONS, …"""

    model_config = SettingsConfigDict(env_prefix="CDC_", extra="ignore", env_ignore_empty=True)

    source: dict[str, Any] | None = None
    destinations: dict[str, Any] | None = None
    masking: dict[str, Any] | None = None
    batch: dict[str, Any] | None = None
    retry: dict[str, Any] | None = None
    tombstone_retention: str | None = None
    metrics: dict[str, Any] | None = None


def load_config(path: Path | None = None) -> Settings:
    """The settings of `path`, else of $CDC_CONFIG, else of ./cdc.yaml, else of the environment alone.

    Relative paths count from the file's folder (without a file: from the working directory). The environment wins:
    CDC_POSTGRES_…, CDC_CLICKHOUSE_…, CDC_TIMESCALEDB_… over every destination of that kind that is not embedded (and
    make one of that name where there is none), CDC_CASSANDRA_… over a schema read from a cluster, and a whole section
    as JSON (CDC_SOURCE, …) over the file's. Raises `ConfigurationError` naming file, key and what was expected.
    """
    file = _chosen(path)
    where = str(file) if file else _ENVIRONMENT
    data = _read(file) if file else {}
    data.update(_environment(_Sections))
    if file is None and "source" not in data:
        raise ConfigurationError("expected a configuration: --config FILE, CDC_CONFIG or ./cdc.yaml, found none")
    _override_destinations(data)
    _override_cluster(data)
    base = file.resolve().parent if file else Path.cwd()
    try:
        return Settings.model_validate(_name_secrets(data, where), context={"base": base})
    except ValidationError as error:
        key, message = sentence(error, data)
        raise ConfigurationError(message, where=where, key=key) from None


def _chosen(path: Path | None) -> Path | None:
    if path is not None:
        return path
    if named := os.environ.get("CDC_CONFIG"):
        return Path(named)
    default = Path("cdc.yaml")
    return default if default.exists() else None


def _read(file: Path) -> dict[str, Any]:
    where = str(file)
    try:
        text = file.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=_UniqueKeys)
    except IsADirectoryError:
        raise ConfigurationError("expected a YAML file, found a directory", where=where) from None
    except FileNotFoundError:
        raise ConfigurationError("expected a YAML file, found none", where=where) from None
    except OSError as error:
        raise ConfigurationError(f"expected a readable file, found: {error.strerror}", where=where) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"expected UTF-8, found another byte at offset {error.start}", where=where) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigurationError(
            f"{place}expected YAML, found: {error.problem or error.context}", where=where
        ) from None
    except yaml.YAMLError:
        raise ConfigurationError("expected YAML, found a character that is not allowed in it", where=where) from None
    if data is None:
        raise ConfigurationError("expected the sections source and destinations, found an empty file", where=where)
    if not isinstance(data, dict):
        found = type(data).__name__
        raise ConfigurationError(f"expected the sections source and destinations, found a {found}", where=where)
    return data


class _UniqueKeys(yaml.SafeLoader):
    """YAML forbids a key twice in one mapping; PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen:
                problem = f"the key {key_node.value} a second time"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _environment(settings: type[BaseSettings]) -> dict[str, Any]:
    """What the environment says about one system: only what is set there."""
    prefix = settings.model_config.get("env_prefix", "")
    try:
        loaded = settings()
    except ValidationError as error:
        key, message = sentence(error, {})
        raise ConfigurationError(message, where=_ENVIRONMENT, key=f"{prefix}{key}".upper()) from None
    return {name: getattr(loaded, name) for name in loaded.model_fields_set if getattr(loaded, name) is not None}


def _override_destinations(data: dict[str, Any]) -> None:
    destinations = data.setdefault("destinations", {})
    if not isinstance(destinations, dict):
        return  # validation says so
    for kind, settings in _SYSTEMS.items():
        if not (given := _environment(settings)):
            continue
        same = {
            name: entry for name, entry in destinations.items() if isinstance(entry, dict) and entry.get("kind") == kind
        }
        if not same and {"host", "dsn"} & set(given):
            destinations[kind] = {"kind": kind, **given}
        for name, entry in same.items():
            if not entry.get("embedded"):
                rival = "host" if "dsn" in given else "dsn" if "host" in given else None
                kept = {key: value for key, value in entry.items() if key != rival or rival in given}
                destinations[name] = {**kept, **given}


def _override_cluster(data: dict[str, Any]) -> None:
    source = data.get("source")
    given = _environment(CassandraSettings)
    if not isinstance(source, dict) or not given:
        return
    schema = source.setdefault("schema", {})
    if isinstance(schema, dict) and "file" not in schema:
        source["schema"] = {**schema, **given}


def _name_secrets(data: Any, where: str, key: str = "") -> Any:
    """Turn every `{env: NAME}` into a `Secret` that knows its key; the key ring's source looks alike and is none."""
    if isinstance(data, dict):
        if list(data) == ["env"] and isinstance(data["env"], str) and key != "masking.keys":
            return Secret(env=data["env"], where=where, key=key)
        return {
            name: _name_secrets(value, where, f"{key}.{name}" if key else str(name)) for name, value in data.items()
        }
    if isinstance(data, list):
        return [_name_secrets(value, where, key) for value in data]
    return data
