"""Logs to stderr by structlog: JSON lines with lane and run id, and never a value of a row."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from cdc_pipeline.errors import CdcError, ConfigurationError

Level = Literal["debug", "info", "warning", "error"]


def configure_logging(*, json: bool = True, level: str = "info") -> None:
    """One JSON object per line, or coloured text for a terminal; `level` is debug, info, warning or error.

    Raises `ConfigurationError` for another level. May be called again.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ConfigurationError(f"expected a log level of debug, info, warning or error, found {level}")
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exception_without_values,
    ]
    last: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*chain, last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,  # a second call must reach loggers that exist
    )


def exception_without_values(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by class and places; the text only of our own errors, for a driver's may quote a row."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event["error"] = type(error).__name__
        if isinstance(error, CdcError):
            event["reason"] = str(error)
        frames = traceback.extract_tb(error.__traceback__)
        event["at"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    return event


@contextmanager
def lane_context(destination: str, shard: str, run_id: str) -> Iterator[None]:
    """Every line logged inside carries `lane` (destination/shard) and `run_id`."""
    with structlog.contextvars.bound_contextvars(lane=f"{destination}/{shard}", run_id=run_id):
        yield
