"""The two primitives: bytes of one value in, the text that leaves out. Chains of plain callables, no classes.

The result is pseudonymised, not anonymous: equal values stay equal, and a token's key holder can go back.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.rule import Normalise
from cdc_pipeline.transform.secret import Key

Mask = Callable[[bytes, bytes], str]  # (value, associated data, b"" for scope value) -> text

_HASH, _TOKEN = "h1", "t1"
_HASH_KEY_BYTES, _TOKEN_KEY_BYTES = 32, 64  # RFC 2104 with SHA-256; AES-256-SIV (RFC 5297) takes two keys
_EMPTY = b"empty"

_STEPS: dict[Normalise, Callable[[str], str]] = {
    Normalise.TRIM: str.strip,
    Normalise.LOWER: str.lower,
    Normalise.NFC: lambda text: unicodedata.normalize("NFC", text),
    Normalise.DIGITS: lambda text: "".join(filter(str.isdecimal, text)),
}


def pii_hash(key: Key, domain: str) -> Mask:
    """`h1.<key id>.<64 hex>`: HMAC-SHA-256 of the bytes under the subkey ("pii_hash", domain). Never cut."""
    keyed = HMAC(key.subkey("pii_hash", domain, _HASH_KEY_BYTES), SHA256())
    prefix = f"{_HASH}.{key.id}."

    def mask(value: bytes, _: bytes) -> str:
        running = keyed.copy()  # the key is scheduled once: twice as fast as hmac.digest
        running.update(value)
        return prefix + running.finalize().hex()

    return mask


def phi_tokenize(key: Key, domain: str) -> Mask:
    """`t1.<key id>.<base64url without padding>`: AES-SIV of the bytes under the subkey ("phi_tokenize", domain).

    Some versions of AES-SIV refuse an empty plaintext, so the empty value is one zero byte under the further
    associated data `empty`: deterministic, reversible, and unlike the token of a real zero byte.
    """
    siv, prefix = _siv(key, domain), f"{_TOKEN}.{key.id}."

    def mask(value: bytes, context: bytes) -> str:
        sealed = siv.encrypt(value or b"\0", _associated(context, empty=not value))
        return prefix + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    return mask


def open_token(key: Key, domain: str, sealed: bytes, context: bytes) -> bytes | None:
    """The bytes behind a token's last part, or None if key, domain or associated data are not its own."""
    siv = _siv(key, domain)
    try:
        return siv.decrypt(sealed, _associated(context, empty=False))
    except InvalidTag:
        pass
    try:
        return b"" if siv.decrypt(sealed, _associated(context, empty=True)) == b"\0" else None
    except InvalidTag:
        return None


def split_token(token: str) -> tuple[str, bytes] | None:
    """(key id, sealed bytes) of a `t1` token, None if it is none."""
    version, _, rest = token.partition(".")
    key_id, _, sealed = rest.partition(".")
    if version != _TOKEN or not sealed:
        return None
    try:
        return key_id, base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def row_context(decision: Decision, row_id: bytes) -> bytes:
    """Associated data of scope row: table, column and the primary key's bytes, each but the last with its length."""
    names = (f"{decision.keyspace}.{decision.table}".encode(), decision.column.encode())
    return b"".join(len(name).to_bytes(4, "big") + name for name in names) + row_id


def normalised(value: bytes, steps: tuple[Normalise, ...]) -> bytes:
    """The value after the steps of its rule; UnicodeDecodeError if it is not UTF-8."""
    text = value.decode("utf-8")
    for step in steps:
        text = _STEPS[step](text)
    return text.encode("utf-8")


def _siv(key: Key, domain: str) -> AESSIV:
    return AESSIV(key.subkey("phi_tokenize", domain, _TOKEN_KEY_BYTES))


def _associated(context: bytes, *, empty: bool) -> list[bytes] | None:
    return [part for part in (context, _EMPTY if empty else b"") if part] or None
