"""Another try after a transient error of a server: exponential backoff with jitter, and a word in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import tenacity

from cdc_pipeline.errors import TransientSinkError

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class Retry:
    """Up to `attempts` tries; between them `wait` seconds, doubled each time up to `max_wait`, plus jitter."""

    attempts: int = 8
    wait: float = 0.1
    max_wait: float = 30.0

    def call(self, function: Callable[[], T], on_wait: Callable[[BaseException], None] = lambda _: None) -> T:
        """Calls; `TransientSinkError` is tried again and raised after the last try, every other error at once."""

        def before_sleep(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            seconds = state.next_action.sleep if state.next_action is not None else 0.0
            log.warning("destination unavailable, waiting", error=str(error), seconds=round(seconds, 3))
            if error is not None:
                on_wait(error)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientSinkError),
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential(self.wait, self.max_wait) + tenacity.wait_random(0, self.wait),
            before_sleep=before_sleep,
            reraise=True,
        )(function)
