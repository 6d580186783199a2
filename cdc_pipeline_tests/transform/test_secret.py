from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.transform.secret import Key, weakness
from cdc_pipeline_tests.transform.conftest import ACTIVE_SECRET, unhurried


def hkdf(secret: bytes, info: bytes, length: int, salt: bytes = b"cdc_pipeline masking 1") -> bytes:
    """RFC 5869, written out here so that the package's is not compared with itself."""
    pseudorandom = hmac.new(salt, secret, hashlib.sha256).digest()
    block, output, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(pseudorandom, block + info + bytes([counter]), hashlib.sha256).digest()
        output, counter = output + block, counter + 1
    return output[:length]


def test_the_tests_own_hkdf() -> None:
    """The HKDF that the package's is compared with gives RFC 5869's test case 1."""
    output = hkdf(bytes([0x0B] * 22), bytes(range(0xF0, 0xFA)), 42, bytes(range(13)))
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert output.hex() == expected


@unhurried
@given(st.sampled_from(["pii_hash", "phi_tokenize"]), st.text(), st.sampled_from([16, 32, 64]))
def test_subkey_is_hkdf(purpose: str, domain: str, length: int) -> None:
    """A subkey is HKDF-SHA-256 with purpose, NUL and domain as info."""
    info = purpose.encode() + b"\0" + domain.encode()
    assert Key("k", ACTIVE_SECRET).subkey(purpose, domain, length) == hkdf(ACTIVE_SECRET, info, length)


def test_known_answers() -> None:
    """The derivation never changes: with it every mask in every destination would."""
    key = Key("k", ACTIVE_SECRET)
    assert key.fingerprint == hkdf(ACTIVE_SECRET, b"fingerprint\0", 8).hex() == "4ac30529fd4755b0"
    assert (
        key.subkey("pii_hash", "email", 32).hex() == "d2732fe15b412b9fc6b2aa86ff2a8079f29991bd43ec56453b55e7e36cad0b69"
    )


def test_fingerprint_depends_on_the_secret_only() -> None:
    """Another id or status has the same fingerprint, another secret another one."""
    assert Key("a", ACTIVE_SECRET).fingerprint == Key("b", ACTIVE_SECRET, "retired").fingerprint
    assert Key("a", ACTIVE_SECRET).fingerprint != Key("a", ACTIVE_SECRET[::-1]).fingerprint


def test_never_shown() -> None:
    """A key is not printed, pickled or copied with its secret."""
    key = Key("k", ACTIVE_SECRET)
    shown = f"{key} {key!r} {dir(key)}"
    assert ACTIVE_SECRET.hex() not in shown
    assert not hasattr(key, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled or copied"):
            attempt(key)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        (ACTIVE_SECRET[:31], "expected at least 32 bytes, found 31"),
        (b"", "expected at least 32 bytes, found 0"),
        (bytes(32), "a pattern"),
        (b"\xff" * 64, "a pattern"),
        (bytes(range(32)), "a pattern"),
        (bytes(range(0, 128, 3))[:40], "a pattern"),
        (ACTIVE_SECRET[:16] * 2, "a pattern"),
        (ACTIVE_SECRET[:20] * 2 + ACTIVE_SECRET[:3], "a pattern"),
        (b"0123456789" * 4, "a pattern"),
        (b"abcabcabdabcabcabdabcabcabdabcabcxyz", "a pattern"),
        (b"changeme" * 5, "a placeholder"),
        (b"CHANGE_ME and some more words here", "a placeholder"),
        (b"this is my very own PassWord, do read", "a placeholder"),
    ],
)
def test_weak(secret: bytes, why: str) -> None:
    """A secret that is short, a pattern or a placeholder is refused."""
    assert why in (weakness(base64.b64encode(secret).decode(), secret) or "")


@pytest.mark.parametrize(
    "text", ["changeme" * 6, "REPLACEME/0123456789abcdefghijklmnopqrstuvwxyzABC=", "your-secret-here"]
)
def test_placeholder_as_written(text: str) -> None:
    """A placeholder that happens to be base64 is refused by its text."""
    assert weakness(text, ACTIVE_SECRET) == "expected a random secret, found a placeholder"


@unhurried
@given(st.integers(min_value=0))
def test_random_is_taken(seed: int) -> None:
    """Random bytes and their hex digits are taken."""
    secret = hashlib.sha256(str(seed).encode()).digest()
    for form in (secret, secret.hex().encode()):
        assert weakness(base64.b64encode(form).decode(), form) is None
