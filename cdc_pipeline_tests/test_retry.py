"""Another try after a transient error, and only then; bounded in number and time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from cdc_pipeline.errors import LaneLost, PermanentSinkError, RowsRefused, TransientSinkError
from cdc_pipeline.retry import Retry

FAST = Retry(attempts=5, wait=0.001, max_wait=0.002)


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    """What is logged."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


class Failing:
    """Fails some times, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


def test_a_transient_error_is_tried_again(logged: LogCapture) -> None:
    """The answer of the first try that succeeds; each wait is a word in the log and a call of the caller's."""
    waits: list[BaseException] = []
    failing = Failing(3, TransientSinkError("down"))
    assert FAST.call(failing, waits.append) == "done"
    assert failing.calls == 4
    assert [str(error) for error in waits] == ["down"] * 3
    assert [(entry["event"], entry["error"]) for entry in logged.entries] == [
        ("destination unavailable, waiting", "down")
    ] * 3


def test_tries_are_bounded(logged: LogCapture) -> None:
    """After the last try the error itself is raised, not one about retrying."""
    failing = Failing(99, TransientSinkError("down"))
    with pytest.raises(TransientSinkError, match=r"^down$"):
        FAST.call(failing)
    assert failing.calls == 5
    assert len(logged.entries) == 4


@pytest.mark.parametrize("error", [PermanentSinkError("no"), RowsRefused("no"), LaneLost("no"), KeyError("no")])
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    """What would fail alike is raised at once."""
    failing = Failing(1, error)
    with pytest.raises(type(error)):
        FAST.call(failing)
    assert failing.calls == 1


def test_waits_double_up_to_a_bound(logged: LogCapture) -> None:
    """Waits rise from `wait` to `max_wait`, plus a jitter of a quarter at most."""
    with pytest.raises(TransientSinkError):
        Retry(attempts=7, wait=0.01, max_wait=0.04).call(Failing(99, TransientSinkError("down")))
    waits = [entry["seconds"] for entry in logged.entries]
    assert len(waits) == 6
    for number, seconds in enumerate(waits):
        least = min(0.01 * 2**number, 0.04)
        assert least <= seconds <= least * 1.25 + 0.001


def test_one_try_is_no_wait() -> None:
    """With one attempt nothing is waited for."""
    started = time.monotonic()
    with pytest.raises(TransientSinkError):
        Retry(attempts=1, wait=10).call(Failing(9, TransientSinkError("down")))
    assert time.monotonic() - started < 1


def test_a_stop_ends_a_wait() -> None:
    """Asked to stop, a wait of half a minute ends at once with the error that it waited for."""
    asked = threading.Event()
    threading.Timer(0.2, asked.set).start()
    failing = Failing(9, TransientSinkError("down"))
    started = time.monotonic()
    with pytest.raises(TransientSinkError, match=r"^down$"):
        Retry(attempts=None, wait=30).call(failing, should_stop=asked.is_set)
    assert time.monotonic() - started < 2
    assert failing.calls <= 2


def test_without_a_number_of_attempts(logged: LogCapture) -> None:
    """A lane that follows its log waits as long as it takes."""
    failing = Failing(60, TransientSinkError("down"))
    assert Retry(attempts=None, wait=0.0001, max_wait=0.0002).call(failing) == "done"
    assert len(logged.entries) == 60
