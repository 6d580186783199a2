"""The next item is made while the caller works on the one before, and never further ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from cdc_pipeline.ahead import one_ahead

SECONDS = 10


def test_the_next_is_made_meanwhile() -> None:
    """While the caller holds an item the next is made, in another thread, and the one behind it is not begun."""
    begun = [threading.Event() for _ in range(3)]

    def items() -> Generator[int]:
        for number in range(3):
            begun[number].set()
            yield number

    found = one_ahead(items(), lambda _: False)
    assert next(found) == 0
    assert begun[1].wait(SECONDS)
    assert not begun[2].is_set()
    assert list(found) == [1, 2]


def test_nothing_is_made_behind_one_that_is_done_alone() -> None:
    """The next is begun only when the caller comes back for it."""
    begun = []

    def items() -> Generator[int]:
        for number in range(4):
            begun.append(number)
            yield number

    for number in one_ahead(items(), lambda _: True):
        assert begun == list(range(number + 1))


def test_an_error_comes_at_its_place() -> None:
    """What was made before it is handed out first."""

    def items() -> Generator[int]:
        yield 1
        raise KeyError("the second")

    found = one_ahead(items(), lambda _: False)
    assert next(found) == 1
    with pytest.raises(KeyError, match="the second"):
        next(found)


def test_a_caller_that_stops_leaves_nothing() -> None:
    """The generator is closed behind the item that is being made, and its thread has ended."""
    closed = []

    def items() -> Generator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread())

    before = threading.active_count()
    found = one_ahead(items(), lambda _: False)
    next(found)
    found.close()
    assert len(closed) == 1
    assert threading.active_count() == before


def test_an_error_that_nobody_asked_for() -> None:
    """A caller that stops does not hear of what failed behind."""

    def items() -> Generator[int]:
        yield 1
        raise KeyError("the second")

    found = one_ahead(items(), lambda _: False)
    next(found)
    found.close()
