"""`health`: each configured system alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.capture import space
from cdc_pipeline.cli.app import ConfigOption, JsonOption, app, config_path, output
from cdc_pipeline.config import (
    CassandraSettings,
    ClickHouseDestination,
    ClickHouseSettings,
    ClusterSchema,
    PostgresSettings,
    TimescaleSettings,
)
from cdc_pipeline.config.destinations import PostgresConnection
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.load.clickhouse.address import Address
from cdc_pipeline.observability.health import (
    Health,
    check_cassandra,
    check_clickhouse,
    check_directory,
    check_postgres,
)
from cdc_pipeline.project import Project


@app.command()
def health(
    only: Annotated[str | None, typer.Argument(help="Only this destination, shard or `cassandra`.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each.")] = 5.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Asks every configured system: up or not, version, latency. Exit code 1 if one is not up.

    Example: `cdc-pipeline health warehouse`
    """
    out = output(as_json)
    found = [h for h in _configured(config_path(config), timeout) if only is None or only == h.name]
    if not found:
        raise ConfigurationError(f"expected a configured system, found {only or 'none'}")
    for one in found:
        out.record(dataclasses.asdict(one))
    rows = [(h.name, h.kind, "up" if h.up else "DOWN", h.version, f"{h.latency_ms:.1f}", h.message) for h in found]
    out.table("", ["system", "kind", "state", "version", "ms", "message"], rows)
    return int(not all(one.up for one in found))


def _configured(config: Path | None, timeout: float) -> list[Health]:
    """The systems of the configuration; without one, those that the environment names, each alone."""
    try:
        project = Project.load(config)
    except ConfigurationError:
        alone = _from_environment(timeout) if config is None else []
        if not alone:
            raise
        return alone
    with project:
        found = [_shard(project, name, timeout) for name in project.shards()]
        source = project.settings.source.schema_source
        if isinstance(source, ClusterSchema):
            found.append(_cassandra(source, timeout))
        for name, place in project.settings.destinations.items():
            try:
                if isinstance(place, ClickHouseDestination):
                    found.append(_clickhouse(name, project.address(name), timeout))
                else:
                    found.append(check_postgres(project.conninfo(name), name=name, kind=place.kind, timeout=timeout))
            except CdcError as error:
                found.append(Health(name, place.kind, False, None, 0.0, str(error)))
        return found


def _shard(project: Project, name: str, timeout: float) -> Health:
    """A node's `cdc_raw`: it can be read, and there is room in it."""
    directory = project.settings.source.shards[name].directory
    found = check_directory(directory, name=name, timeout=timeout)
    if not found.up:
        return found
    try:
        room = space.look(directory, project.limits(name))
    except OSError as error:
        return dataclasses.replace(found, up=False, message=f"{name}: {directory}: found {error.strerror}")
    up = room.pressure is not space.Pressure.FULL
    return dataclasses.replace(found, up=up, message=f"{found.message}; CDC space: {room.message}")


def _from_environment(timeout: float) -> list[Health]:
    found = []
    connections: list[tuple[str, PostgresConnection]] = [
        ("postgres", PostgresSettings()),
        ("timescaledb", TimescaleSettings()),
    ]
    for kind, settings in connections:
        if settings.host or settings.dsn:
            found.append(check_postgres(settings.conninfo(), name=kind, kind=kind, timeout=timeout))
    clickhouse = ClickHouseSettings()
    if clickhouse.host or clickhouse.dsn:
        found.append(_clickhouse("clickhouse", Address(**clickhouse.endpoint()._asdict()), timeout))
    cassandra = CassandraSettings()
    if cassandra.contact_points:
        found.append(_cassandra(cassandra, timeout))
    return found


def _clickhouse(name: str, address: Address, timeout: float) -> Health:
    return check_clickhouse(
        host=address.host,
        port=address.port,
        username=address.username,
        password=address.password,
        secure=address.secure,
        verify=address.verify,
        ca_cert=address.ca_cert,
        name=name,
        timeout=timeout,
    )


def _cassandra(place: CassandraSettings | ClusterSchema, timeout: float) -> Health:
    password = place.password.reveal() if place.password is not None else None
    return check_cassandra(
        place.contact_points,
        port=place.port,
        username=place.username,
        password=password,
        name="cassandra",
        timeout=timeout,
    )
