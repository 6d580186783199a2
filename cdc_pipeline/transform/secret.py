"""One masking key: a secret that is never printed, and the subkeys derived from it."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_BYTES = 32
_SALT = b"cdc_pipeline masking 1"  # fixed: a subkey depends on secret, purpose and domain only
_MIN_DISTINCT = 12  # of 32 random bytes fewer than 20 distinct ones never happen; 64 hex digits have 13 or more
_PLACEHOLDER = re.compile(
    r"change.?me|placeholder|example|replace|password|dummy|sample|your|secret|default|test|todo", re.I
)
_PLACEHOLDER_TEXT = re.compile(r"change.?me|placeholder|replaceme|password|your.?secret", re.I)


class Key:
    """An id, a status and a secret of at least 32 bytes; not printable, not picklable.

    Subkeys are HKDF-SHA-256 (RFC 5869) with a fixed salt and `purpose NUL domain` as info, so that a leaked subkey
    says nothing about another domain, and a hash nothing about a token.
    """

    __slots__ = ("_secret", "created_at", "id", "status")

    def __init__(self, key_id: str, secret: bytes, status: str = "active", created_at: str | None = None) -> None:
        self.id = key_id
        self.status = status
        self.created_at = created_at
        self._secret = secret

    def subkey(self, purpose: str, domain: str, length: int) -> bytes:
        """`length` bytes (at most 8 160) for one purpose and domain."""
        info = purpose.encode() + b"\0" + domain.encode()
        return HKDF(algorithm=SHA256(), length=length, salt=_SALT, info=info).derive(self._secret)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell this secret from another and give nothing of it away."""
        return self.subkey("fingerprint", "", 8).hex()

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, status={self.status!r}, fingerprint={self.fingerprint!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a masking key is never pickled or copied")


def weakness(text: str, secret: bytes) -> str | None:
    """Why a secret (as written, and decoded) is refused, or None: too short, a placeholder, or not random."""
    if _PLACEHOLDER_TEXT.search(text):
        return "expected a random secret, found a placeholder"
    if len(secret) < MIN_SECRET_BYTES:
        return f"expected at least {MIN_SECRET_BYTES} bytes, found {len(secret)}"
    if secret.isascii() and _PLACEHOLDER.search(secret.decode("ascii")):
        return "expected a random secret, found a placeholder"
    if len(set(secret)) < _MIN_DISTINCT or _repeats(secret) or _counts(secret):
        return "expected a random secret, found a pattern"
    return None


def _repeats(secret: bytes) -> bool:
    """Whether a piece of at most half the length fills it."""
    return any(secret[period:] == secret[:-period] for period in range(1, len(secret) // 2 + 1))


def _counts(secret: bytes) -> bool:
    """Whether each byte is the one before plus a constant."""
    return len({(after - before) % 256 for before, after in pairwise(secret)}) == 1
