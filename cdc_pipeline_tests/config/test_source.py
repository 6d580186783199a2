"""Which tables are selected, and how long a duration is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from cdc_pipeline.config import Settings
from cdc_pipeline.config.source import parse_duration
from cdc_pipeline_tests.config.conftest import MINIMAL


@pytest.mark.parametrize(
    ("tables", "selected"),
    [
        ("null", {"shop.orders"}),
        ("[]", {"shop.orders"}),
        ("['shop.*']", {"shop.orders", "shop.audit"}),
        ("['shop.*', '!shop.audit']", {"shop.orders"}),
        ("['!shop.audit', 'shop.*']", {"shop.orders"}),
        ("['!*.orders']", set()),
        ("['*']", {"shop.orders", "shop.audit"}),
    ],
)
def test_tables(load: Callable[[str], Settings], tables: str, selected: set[str]) -> None:
    """Globs select, `!` excludes whatever the order, and without a positive glob it is every table with cdc = true."""
    source = load(MINIMAL.replace("{file: schema.json}", f"{{file: s}}\n  tables: {tables}")).source
    known = {"shop.orders": True, "shop.audit": False}
    assert {table for table, cdc in known.items() if source.selects(table, cdc=cdc)} == selected


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
