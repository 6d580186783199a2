"""JSON lines with lane and run id, without a value of a row."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from cdc_pipeline.errors import ConfigurationError, PermanentSinkError
from cdc_pipeline.observability.logging import configure_logging, lane_context


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave structlog as it was found."""
    yield
    structlog.reset_defaults()


def test_a_line_is_json_with_lane_and_run_id(capsys: pytest.CaptureFixture[str]) -> None:
    """Inside a lane every line says which; outside it does not; nothing goes to stdout."""
    configure_logging()
    log = structlog.get_logger()
    with lane_context("warehouse", "node1", "run-7"):
        log.info("batch committed", changes=3)
    log.warning("idle")
    out, err = capsys.readouterr()
    inside, outside = map(json.loads, err.splitlines())
    assert out == ""
    assert (inside["event"], inside["level"], inside["changes"]) == ("batch committed", "info", 3)
    assert (inside["lane"], inside["run_id"]) == ("warehouse/node1", "run-7")
    assert inside["timestamp"].endswith("Z")
    assert "lane" not in outside


def test_the_text_of_foreign_errors_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A driver may quote a row, so only its class and places are logged; our own reasons are safe."""
    configure_logging()
    log = structlog.get_logger()
    for error in (ValueError("Anna's secret"), PermanentSinkError("disk full")):
        try:
            raise error
        except Exception:
            log.exception("failed")
    text = capsys.readouterr().err
    foreign, ours = map(json.loads, text.splitlines())
    assert "Anna" not in text
    assert foreign["error"] == "ValueError"
    assert foreign["at"][0].startswith("test_logging.py:")
    assert ours["reason"] == "disk full"


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the level nothing is written, and a second call changes it; text for people holds no JSON."""
    log = structlog.get_logger()
    configure_logging(level="error")
    log.info("not this")
    configure_logging(json=False, level="debug")
    log.debug("but this")
    text = capsys.readouterr().err
    assert "not this" not in text
    assert "but this" in text
    assert "{" not in text


def test_an_unknown_level_is_refused() -> None:
    """One sentence with what was expected."""
    with pytest.raises(ConfigurationError, match="expected a log level of debug, info, warning or error, found loud"):
        configure_logging(level="loud")
