"""What every section shares: unknown keys are refused, values are frozen, secrets do not print, paths are absolute."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cdc_pipeline.errors import ConfigurationError


class Section(BaseModel):
    """A mapping of the file with a fixed set of keys."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: object) -> object:
        if isinstance(data, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in known:
                    raise unknown_key(str(key), known)
        return data


def unknown_key(key: str, known: list[str]) -> PydanticCustomError:
    """The error about a key that is not among `known`, with the nearest of them as a suggestion."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return PydanticCustomError(
        "unknown_key",
        "unknown key, expected one of {known}{hint}",
        {"key": key, "known": ", ".join(known), "hint": hint},
    )


class Secret:
    """A password or the name of the environment variable that holds it; prints as asterisks.

    `where` and `key` say for messages which file and dotted key it came from.
    """

    def __init__(
        self, value: str | None = None, *, env: str | None = None, where: str | None = None, key: str | None = None
    ) -> None:
        self._value = None if value is None else SecretStr(value)
        self._env, self._where, self._key = env, where, key

    def reveal(self) -> str:
        """The secret itself, looked up now; `ConfigurationError` names key and variable when that is not set."""
        if self._value is not None:
            return self._value.get_secret_value()
        value = os.environ.get(self._env or "")
        if not value:
            raise ConfigurationError(
                f"expected the secret in the environment variable {self._env}, found it not set",
                where=self._where,
                key=self._key,
            )
        return value

    def redacted(self) -> str | dict[str, str]:
        """What may be printed: asterisks, or the name of the variable."""
        return {"env": self._env} if self._env else "**********"

    def __repr__(self) -> str:
        return f"Secret({self.redacted()!r})"


def _to_secret(value: object) -> object:
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, dict) and list(value) == ["env"] and isinstance(value["env"], str):
        return Secret(env=value["env"])
    if isinstance(value, Secret):
        return value
    raise PydanticCustomError("secret", "expected a text in quotes or {env: NAME}")


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "expected a whole number")
    return value


def _to_absolute(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base") or Path.cwd()
    return base / path.expanduser()


Whole = Annotated[int, BeforeValidator(_no_truth)]
"""A whole number, for which YAML's `yes` does not count."""

SecretField = Annotated[Secret, BeforeValidator(_to_secret), PlainSerializer(Secret.redacted)]
"""A text or `{env: NAME}` in the file."""

FilePath = Annotated[Path, AfterValidator(_to_absolute)]
"""A path; a relative one counts from the file's own folder."""
