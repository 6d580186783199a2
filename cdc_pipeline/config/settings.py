"""The whole of cdc.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cdc_pipeline.config.batch import BatchSettings
from cdc_pipeline.config.destinations import Destination
from cdc_pipeline.config.section import FilePath, Section, Whole
from cdc_pipeline.config.source import Duration, Name, SourceSettings


class KeySource(Section):
    """Where the masking key ring is: the file `keys.json`, or an environment variable that holds its text."""

    file: FilePath | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise PydanticCustomError("keys", "expected exactly one of file and env")
        return self


class MaskingSettings(Section):
    """The section `masking`; `unclassified` says what happens to a text column that no rule knows."""

    rules: FilePath | None = None
    keys: KeySource | None = None
    unclassified: Literal["allow", "review", "deny"] = "review"

    @field_validator("rules")
    @classmethod
    def _is_there(cls, rules: FilePath | None) -> FilePath | None:
        if rules is not None and not rules.is_file():
            raise PydanticCustomError("rules", "expected a file of rules, found none at {path}", {"path": str(rules)})
        return rules


class RetrySettings(Section):
    """Another try after a transient error: `wait` seconds, doubled up to `max_wait`. A run that ends by itself gives up
    after `attempts` tries; one that goes on until it is stopped waits as long as it takes."""

    attempts: Whole = Field(default=8, ge=1)
    wait: float = Field(default=0.1, gt=0)
    max_wait: float = Field(default=30.0, gt=0)


class MetricsSettings(Section):
    """Where Prometheus may ask; port 0 takes any free one."""

    port: Whole = Field(ge=0, le=65535)
    host: str = "127.0.0.1"


class Settings(Section):
    """Everything, checked and frozen; made by `load_config`."""

    source: SourceSettings
    destinations: dict[Name, Destination]
    masking: MaskingSettings = MaskingSettings()
    batch: BatchSettings = BatchSettings()
    retry: RetrySettings = RetrySettings()
    tombstone_retention: Duration = timedelta(days=10)
    metrics: MetricsSettings | None = None

    @field_validator("destinations")
    @classmethod
    def _at_least_one(cls, destinations: dict[str, Any]) -> dict[str, Any]:
        if not destinations:
            raise PydanticCustomError("destinations", "expected at least one destination as name: {kind: …}")
        return destinations

    def redacted(self) -> dict[str, Any]:
        """The settings as plain values, secrets as asterisks or as the name of their variable."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
