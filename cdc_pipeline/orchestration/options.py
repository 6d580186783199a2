"""How long runs and sensor ticks last; from the environment alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Options(BaseSettings):
    """CDC_DAGSTER_IDLE_SECONDS, _BUDGET_SECONDS, _POLL_SECONDS, _RETRY_SECONDS, _OWNERS (split at commas).

    A drain run ends when nothing came for `idle_seconds`, and at the latest after `budget_seconds`. A tick of the
    commit-log sensor looks for up to `poll_seconds`, and lets a lane whose run failed rest for `retry_seconds`.
    """

    model_config = SettingsConfigDict(env_prefix="CDC_DAGSTER_", extra="ignore", env_ignore_empty=True, frozen=True)

    idle_seconds: float = Field(default=20.0, ge=0)
    budget_seconds: float = Field(default=300.0, gt=0)
    poll_seconds: float = Field(default=20.0, ge=0, le=45)  # Dagster gives up on a tick after 60 s
    retry_seconds: float = Field(default=60.0, ge=0)
    owners: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
