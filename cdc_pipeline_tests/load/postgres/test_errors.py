"""Which errors of the server are worth another try."""

from __future__ import annotations

import psycopg
import pytest

from cdc_pipeline.errors import PermanentSinkError, RowsRefused, TransientSinkError
from cdc_pipeline.load.postgres.errors import classified


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", TransientSinkError),  # connection failure
        ("57P01", TransientSinkError),  # shutting down
        ("57P03", TransientSinkError),  # starting up
        ("53300", TransientSinkError),  # too many connections
        ("53100", TransientSinkError),  # disk full
        ("40001", TransientSinkError),
        ("40P01", TransientSinkError),
        ("25006", TransientSinkError),  # a standby until it is promoted
        ("08P01", PermanentSinkError),
        ("28P01", PermanentSinkError),
        ("3D000", PermanentSinkError),
        ("42501", PermanentSinkError),  # no permission
        ("42703", PermanentSinkError),
        ("22021", RowsRefused),
        ("23505", RowsRefused),
        ("54000", RowsRefused),
    ],
)
def test_classes(state: str, kind: type[Exception]) -> None:
    """By SQLSTATE: connection, resources, operators and serialization are; data, permissions and passwords are not."""
    error = psycopg.errors.lookup(state)("a row with a secret in it")
    found = classified(error, "warehouse", "loading")
    assert type(found) is kind
    assert state in str(found)
    assert "secret" not in str(found)
