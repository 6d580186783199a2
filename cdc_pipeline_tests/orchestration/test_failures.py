from __future__ import annotations

import dagster as dg
import pytest

from cdc_pipeline.errors import OffsetConflict
from cdc_pipeline.orchestration.failures import clean_failures
from cdc_pipeline_tests.orchestration.conftest import value_of


def test_our_errors_keep_their_sentence() -> None:
    """A failure says what the error says, names its class and is not tried again."""
    with pytest.raises(dg.Failure) as caught, clean_failures():
        raise OffsetConflict("lane a/b: stop")
    failure = caught.value
    assert (failure.description, failure.allow_retries) == ("lane a/b: stop", False)
    assert value_of(failure.metadata, "error") == "OffsetConflict"


def test_other_errors_lose_their_text() -> None:
    """The text of an error that is not ours may quote a row: class and place remain, and nothing lies behind."""
    with pytest.raises(dg.Failure) as caught, clean_failures():
        raise KeyError("canary-4711@example.com")
    failure = caught.value
    assert "canary" not in str(failure.description)
    assert "unexpected KeyError at test_failures.py:" in str(failure.description)
    assert failure.__suppress_context__


def test_failures_pass() -> None:
    """What is a failure already stays that one."""
    made = dg.Failure("x")
    with pytest.raises(dg.Failure) as caught, clean_failures():
        raise made
    assert caught.value is made
