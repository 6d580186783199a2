"""Connection strings as libpq reads them."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from cdc_pipeline.config import PostgresSettings, Secret


@pytest.mark.parametrize("password", ["plain", "with space", "it's", "back\\slash", "a=b&c", "ü%40", ""])
@pytest.mark.parametrize("dsn", [None, "host=h user=u", "postgresql://u@h/db", "postgres://u@h/db?sslmode=disable"])
def test_every_password_arrives(password: str, dsn: str | None) -> None:
    """Whatever characters it holds and in whatever form the rest is given."""
    settings = PostgresSettings(
        host=None if dsn else "h",
        user=None if dsn else "u",
        dsn=Secret(dsn) if dsn else None,
        password=Secret(password),
    )
    read = conninfo_to_dict(settings.conninfo())
    assert read["password"] == password
    assert (read["host"], read["user"]) == ("h", "u")


def test_what_is_given_completes_a_dsn() -> None:
    """Fields beside a dsn win over its own; a dsn alone is passed on untouched."""
    dsn = Secret("host=h port=1 user='old'")
    assert conninfo_to_dict(PostgresSettings(dsn=dsn, user="new", port=2).conninfo()) == {
        "host": "h", "port": "2", "user": "new",
    }  # fmt: skip
    assert PostgresSettings(dsn=dsn).conninfo() == "host=h port=1 user='old'"


def test_a_wait_for_a_connection_is_bounded() -> None:
    """Without a dsn the pipeline's own bounds are set."""
    assert conninfo_to_dict(PostgresSettings(host="h").conninfo()) == {
        "host": "h", "connect_timeout": "10", "application_name": "cdc_pipeline",
    }  # fmt: skip
