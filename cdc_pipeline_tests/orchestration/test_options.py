from __future__ import annotations

import pytest
from pydantic import ValidationError

from cdc_pipeline.orchestration import Options


def test_the_defaults_are_the_designs() -> None:
    """Idle for 20 s, at most 300 s, a tick of 20 s."""
    options = Options()
    assert (options.idle_seconds, options.budget_seconds, options.poll_seconds) == (20, 300, 20)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a variable of its own; owners are split at commas."""
    monkeypatch.setenv("CDC_DAGSTER_IDLE_SECONDS", "0")
    monkeypatch.setenv("CDC_DAGSTER_OWNERS", "team:data, ops@example.com")
    assert (Options().idle_seconds, Options().owners) == (0, ("team:data", "ops@example.com"))


def test_a_tick_ends_before_dagster_gives_up_on_it() -> None:
    """Dagster gives a tick 60 s, so a longer look is refused."""
    with pytest.raises(ValidationError):
        Options(poll_seconds=60)
