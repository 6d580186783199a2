"""Another try after a transient error of a server: exponential backoff with jitter, and a word in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import tenacity

from cdc_pipeline.errors import TransientSinkError

T = TypeVar("T")

log = structlog.get_logger()

_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Retry:
    """Up to `attempts` tries (None: until it is asked to stop); between them `wait` seconds, doubled each time up to
    `max_wait`, plus jitter of up to a quarter of that, so that lanes do not come back all at once."""

    attempts: int | None = 8
    wait: float = 0.1
    max_wait: float = 30.0

    def call(
        self,
        function: Callable[[], T],
        on_wait: Callable[[BaseException], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> T:
        """Calls; `TransientSinkError` is tried again, and raised after the last try or when `should_stop` says so,
        which ends a wait within a tenth of a second. Every other error is raised at once."""

        def before_sleep(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            seconds = state.next_action.sleep if state.next_action is not None else 0.0
            log.warning("destination unavailable, waiting", error=str(error), seconds=round(seconds, 3))
            if error is not None:
                on_wait(error)

        def sleep(seconds: float) -> None:
            ends = time.monotonic() + seconds
            while (left := ends - time.monotonic()) > 0 and not should_stop():
                time.sleep(min(left, _LOOK_SECONDS))

        def is_enough(state: tenacity.RetryCallState) -> bool:
            return should_stop() or (self.attempts is not None and state.attempt_number >= self.attempts)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientSinkError),
            stop=is_enough,
            wait=self._seconds,
            sleep=sleep,
            before_sleep=before_sleep,
            reraise=True,
        )(function)

    def _seconds(self, state: tenacity.RetryCallState) -> float:
        base = tenacity.wait_exponential(self.wait, self.max_wait)(state)
        return base + tenacity.wait_random(0, base / 4)(state)
