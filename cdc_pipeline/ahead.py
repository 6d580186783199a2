"""One item ahead: the next micro-batch is decoded and fitted while the server is busy with this one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Generator[T], alone: Callable[[T], bool]) -> Generator[T]:
    """The items, made in another thread, each while the caller works on the one before.

    Behind an item that is to be done `alone` nothing is made before the caller asks for it. Errors come at their place.
    Whoever does not exhaust it has to close it; `items` is closed then, and no thread is left.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="cdc-ahead") as pool:
        made: Future[list[T]] | None = None
        try:
            while True:
                found = (made or pool.submit(_next, items)).result()
                if not found:
                    return
                made = None if alone(found[0]) else pool.submit(_next, items)
                yield found[0]
        finally:
            if made is not None:
                made.exception()  # whatever it is, nobody asked for it
            items.close()


def _next(items: Generator[T]) -> list[T]:
    return [item] if (item := next(items, None)) is not None else []
