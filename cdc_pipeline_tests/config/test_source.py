"""How long a duration is, and how large a size."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cdc_pipeline.config.source import parse_duration, parse_size


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


@pytest.mark.parametrize(
    ("text", "size"), [("4096MiB", 2**32), ("4GiB", 2**32), ("512 KiB", 2**19), ("7B", 7), (4096, 4096)]
)
def test_sizes(text: object, size: int) -> None:
    """As cassandra.yaml spells them, or a number of bytes."""
    assert parse_size(text) == size
