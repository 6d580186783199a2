"""Whom the server runs as: the caller, or an ordinary user when the caller is root, whom PostgreSQL refuses.

No permission or owner of a parent folder is ever changed and no user is added. Where `nobody` could not pass a parent
(a fresh clone below a 0700 folder of root), the server keeps the one capability that lets it.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from cdc_pipeline.errors import ConfigurationError


def server_identity(data: Path) -> tuple[int, int] | None:
    """(uid, gid) to become, None when the caller is not root: the owner of existing data, else `nobody`."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root: expected the system user nobody, found none", where=str(data)
        ) from None
    return nobody.pw_uid, nobody.pw_gid


def can_reach(path: Path, identity: tuple[int, int]) -> bool:
    """Whether these ids may pass every folder down to `path`, by the permission bits."""
    uid, gid = identity
    for folder in (path, *path.parents):
        if folder.is_dir():
            status = folder.stat()
            shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
            if not status.st_mode >> shift & 1:
                return False
    return True
