"""The key ring: the keys that mask now (one, active) and those that still reveal what they masked (retired).

    {"keys": [{"id": "k1", "secret": "<base64 of at least 32 random bytes>", "status": "active"}]}

A file of mode 0600, or the same JSON in an environment variable. No message holds a secret or the text around it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.private_file import read_private, write_private
from cdc_pipeline.transform.secret import MIN_SECRET_BYTES, Key, weakness

_FIELDS = ("id", "secret", "status", "created_at")
_STATUS = ("active", "retired")


class KeyRing:
    """Keys by id, exactly one of them active; not picklable. `source` names the file or variable, for messages."""

    __slots__ = ("_keys", "source")

    def __init__(self, keys: Sequence[Key], source: str) -> None:
        """ConfigurationError for an id twice, or for another number of active keys than one."""
        self._keys = {key.id: key for key in keys}
        self.source = source
        if len(self._keys) != len(keys):
            raise ConfigurationError("expected each id once", where=source, key="keys")
        if (active := sum(key.status == "active" for key in keys)) != 1:
            raise ConfigurationError(f"expected one active key, found {active}", where=source, key="keys")

    @classmethod
    def load(cls, path: str | Path) -> KeyRing:
        """Read a file; ConfigurationError if it is missing, open to group or others, or not a key ring."""
        return cls(_parse(read_private(Path(path)), str(path)), str(path))

    @classmethod
    def from_env(cls, name: str) -> KeyRing:
        """Read the JSON that an environment variable holds; ConfigurationError if it is unset or not a key ring."""
        where = f"environment variable {name}"
        text = os.environ.get(name, "")
        if not text:
            raise ConfigurationError("expected a key ring, found nothing", where=where)
        return cls(_parse(text, where), where)

    @classmethod
    def generate(cls, path: str | Path, key_id: str = "k1") -> KeyRing:
        """Write a new file with one active key (mode 0600) and load it; an existing file is never overwritten."""
        secret = base64.b64encode(secrets.token_bytes(MIN_SECRET_BYTES)).decode()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        key = {"id": key_id, "secret": secret, "status": "active", "created_at": now}
        write_private(Path(path), json.dumps({"keys": [key]}, indent=2) + "\n")
        return cls.load(path)

    @property
    def active(self) -> Key:
        """The key that masks."""
        return next(key for key in self._keys.values() if key.status == "active")

    def get(self, key_id: str) -> Key | None:
        """The key of an id, retired ones too."""
        return self._keys.get(key_id)

    def fingerprint(self, key_id: str | None = None) -> str:
        """Of the active key, or of one id (KeyError): 16 hex digits to store beside what it masked."""
        return (self.active if key_id is None else self._keys[key_id]).fingerprint

    def listing(self) -> list[dict[str, str | None]]:
        """id, status, created_at and fingerprint of every key, without secrets."""
        return [
            {"id": key.id, "status": key.status, "created_at": key.created_at, "fingerprint": key.fingerprint}
            for key in self._keys.values()
        ]

    def __repr__(self) -> str:
        return f"KeyRing({list(self._keys.values())!r}, source={self.source!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key ring is never pickled or copied")


def _parse(text: str, where: str) -> list[Key]:
    problem, document = "", None
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: expected JSON"
    except (ValueError, RecursionError):
        problem = "expected JSON with each key once"
    if problem:
        raise ConfigurationError(problem, where=where)  # outside of `except`, whose error holds the text
    if not isinstance(document, dict) or list(document) != ["keys"] or not isinstance(document["keys"], list):
        raise ConfigurationError('expected {"keys": [...]} and nothing else', where=where)
    return [_key(entry, where, f"keys[{at}]") for at, entry in enumerate(document["keys"])]


def _key(entry: object, where: str, place: str) -> Key:
    if not isinstance(entry, dict):
        raise ConfigurationError("expected an object with id, secret and status", where=where, key=place)
    if unknown := sorted(set(entry) - set(_FIELDS)):
        raise ConfigurationError(f"expected only {', '.join(_FIELDS)}", where=where, key=f"{place}.{unknown[0]}")
    for name in ("id", "secret", "status"):
        if not isinstance(entry.get(name), str):
            raise ConfigurationError("expected a text", where=where, key=f"{place}.{name}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", entry["id"]):
        raise ConfigurationError("expected 1 to 32 letters, digits, _ or -", where=where, key=f"{place}.id")
    if entry["status"] not in _STATUS:
        raise ConfigurationError(f"expected {' or '.join(_STATUS)}", where=where, key=f"{place}.status")
    if not isinstance(entry.get("created_at", ""), str):
        raise ConfigurationError("expected a text", where=where, key=f"{place}.created_at")
    secret = _secret(entry["secret"])
    why = "expected base64" if secret is None else weakness(entry["secret"], secret)
    if secret is None or why:
        raise ConfigurationError(why or "", where=where, key=f"{place}.secret")
    return Key(entry["id"], secret, entry["status"], entry.get("created_at"))


def _secret(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)
