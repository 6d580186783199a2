"""How long a duration is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cdc_pipeline.config.source import parse_duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("0d", timedelta(0)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    """A whole number and one unit."""
    assert parse_duration(text) == length
