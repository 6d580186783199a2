from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.transform.masks import normalised, open_token, phi_tokenize, pii_hash, split_token
from cdc_pipeline.transform.rule import Normalise
from cdc_pipeline.transform.secret import Key
from cdc_pipeline_tests.transform.conftest import ACTIVE_SECRET, RETIRED_SECRET, unhurried
from cdc_pipeline_tests.transform.test_secret import hkdf

KEY, OTHER = Key("k2", ACTIVE_SECRET), Key("k1", RETIRED_SECRET)


@unhurried
@given(st.binary(), st.text())
def test_hash_is_hmac(value: bytes, domain: str) -> None:
    """A hash is the whole HMAC-SHA-256 of the bytes under the domain's subkey."""
    subkey = hkdf(ACTIVE_SECRET, b"pii_hash\0" + domain.encode(), 32)
    expected = hmac.new(subkey, value, hashlib.sha256).hexdigest()
    assert pii_hash(KEY, domain)(value, b"") == f"h1.k2.{expected}"


@unhurried
@given(st.binary(min_size=1))
def test_token_is_aes_siv(value: bytes) -> None:
    """A token is AES-SIV without a nonce under the domain's 64-byte subkey, base64url without padding."""
    sealed = AESSIV(hkdf(ACTIVE_SECRET, b"phi_tokenize\0mrn", 64)).encrypt(value, None)
    expected = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    assert phi_tokenize(KEY, "mrn")(value, b"") == f"t1.k2.{expected}"


def test_known_answers() -> None:
    """Masks of today are masks of tomorrow: a change breaks every join with what is already loaded.

    The values were computed with hashlib and pycryptodomex, not with this package.
    """
    assert (
        pii_hash(KEY, "email")(b"ada@example.com", b"")
        == "h1.k2.8d37c34ab88bc3a3db9e7aab7a92031b35e34dda995fdc5f48c057dd962c1ad9"
    )
    assert phi_tokenize(KEY, "mrn")(b"MRN-1", b"") == "t1.k2.M77O0nML5hpFiH-w8l6ZfOI0bXC2"
    assert phi_tokenize(KEY, "mrn")(b"", b"") == "t1.k2.8j6LPCwp7R5B3k5wxUwUwsU"


@unhurried
@given(st.binary(), st.binary())
def test_token_round_trip(value: bytes, context: bytes) -> None:
    """Every value comes back, the empty one too, and only with its key, domain and associated data."""
    parts = split_token(phi_tokenize(KEY, "mrn")(value, context))
    assert parts is not None
    key_id, sealed = parts
    assert key_id == "k2"
    assert open_token(KEY, "mrn", sealed, context) == value
    assert open_token(OTHER, "mrn", sealed, context) is None
    assert open_token(KEY, "diagnosis", sealed, context) is None
    assert open_token(KEY, "mrn", sealed, context + b"x") is None


@unhurried
@given(st.binary(), st.integers(min_value=0))
def test_a_changed_token_is_refused(value: bytes, at: int) -> None:
    """A single changed bit makes a token worthless."""
    parts = split_token(phi_tokenize(KEY, "mrn")(value, b""))
    assert parts is not None
    sealed = bytearray(parts[1])
    sealed[at % len(sealed)] ^= 1
    assert open_token(KEY, "mrn", bytes(sealed), b"") is None


def test_the_empty_value_is_a_value() -> None:
    """Nothing, a zero byte and the word of the associated data have three tokens."""
    mask = phi_tokenize(KEY, "mrn")
    assert len({mask(b"", b""), mask(b"\0", b""), mask(b"empty", b""), mask(b"", b"row")}) == 4


@pytest.mark.parametrize(
    "text", ["", "t1", "t1.k1", "t1.k1.", "h1.k1.00", "t2.k1.AAAA", "t1.k1.A", "t1.k1.é", "t1.k1.A A A"]
)
def test_no_token(text: str) -> None:
    """What is no token is told from one."""
    assert split_token(text) is None


@pytest.mark.parametrize(
    ("steps", "value", "expected"),
    [
        ((), " Ada\u0301 ", " Ada\u0301 "),
        ((Normalise.TRIM,), " Ada\u00a0", "Ada"),
        ((Normalise.LOWER, Normalise.TRIM), " ADA", "ada"),
        ((Normalise.NFC,), "Ada\u0301", "Adá"),
        ((Normalise.DIGITS,), "+49 (30) 1", "49301"),
    ],
)
def test_normalised(steps: tuple[Normalise, ...], value: str, expected: str) -> None:
    """Steps run in their order, and none leaves the text as it is."""
    assert normalised(value.encode(), steps) == expected.encode()


@unhurried
@given(st.text(), st.sampled_from(Normalise))
def test_normalising_twice_changes_nothing(text: str, step: Normalise) -> None:
    """Each step leaves its own result alone, so that masking again gives the same mask."""
    once = normalised(text.encode(), (step,))
    assert normalised(once, (step,)) == once
