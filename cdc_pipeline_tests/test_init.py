"""The package's public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cdc_pipeline


@pytest.mark.parametrize("name", cdc_pipeline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name loads, is documented, and is the one of its own module."""
    value = getattr(cdc_pipeline, name)
    assert value.__name__ == name
    assert value.__doc__


def test_a_name_that_is_none() -> None:
    """A mistyped name is an AttributeError."""
    with pytest.raises(AttributeError, match="Decodr"):
        cdc_pipeline.Decodr  # noqa: B018


def test_the_package_alone_loads_nothing() -> None:
    """Importing the package imports neither Arrow nor a driver nor Dagster."""
    code = "import cdc_pipeline, sys; print([m for m in ('pyarrow', 'psycopg', 'dagster') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b"[]"
