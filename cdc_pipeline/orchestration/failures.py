"""Errors as Dagster keeps them: one sentence, and never a driver's text or a traceback's values."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from cdc_pipeline.errors import CdcError


@contextmanager
def clean_failures() -> Iterator[None]:
    """Turns our errors into failures with their sentence, and any other into its class and places.

    No automatic retry: transient errors were retried in the library, the others would fail alike.
    """
    try:
        yield
    except (dg.Failure, GeneratorExit):
        raise
    except CdcError as error:
        raise failure_of(error) from None
    except Exception as error:
        raise dg.Failure(f"unexpected {type(error).__name__} at {_places(error)}", allow_retries=False) from None


def failure_of(error: CdcError) -> dg.Failure:
    """A failure that says what the error says."""
    return dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False)


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
