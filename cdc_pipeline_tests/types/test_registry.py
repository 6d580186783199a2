from __future__ import annotations

import pytest

from cdc_pipeline.types.model import SCALAR_NAMES
from cdc_pipeline.types.registry import Form, registered


@pytest.mark.parametrize("name", sorted(SCALAR_NAMES))
@pytest.mark.parametrize("form", ["cassandra", "destination"])
def test_every_scalar_prints(name: str, form: Form) -> None:
    """Every scalar has a printer in both forms."""
    assert registered(name, form) is not None


def test_unknown() -> None:
    """A class that no family knows has none."""
    assert registered("CompositeType", "cassandra") is None
