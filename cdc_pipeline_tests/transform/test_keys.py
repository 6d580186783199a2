from __future__ import annotations

import base64
import copy
import json
import pickle
import stat
from pathlib import Path

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline_tests.transform.conftest import ACTIVE_SECRET, RETIRED_SECRET, key_entry, write_keys

SECRET_TEXT = base64.b64encode(ACTIVE_SECRET).decode()


def ring(*entries: object) -> str:
    """A key file's text."""
    return json.dumps({"keys": list(entries)})


GOOD = key_entry()
BAD = {
    "nothing": ("", None, "line 1, column 1: expected JSON"),
    "not JSON": (f'{{"keys": [{{"secret": "{SECRET_TEXT}"', None, "expected JSON"),
    "a key twice": (f'{{"keys": [{{"secret": "x", "secret": "{SECRET_TEXT}"}}]}}', None, "each key once"),
    "endless nesting": ("[" * 100_000, None, "expected JSON"),
    "a list": ("[]", None, 'expected {"keys": [...]}'),
    "another key": ('{"keys": [], "more": 1}', None, "and nothing else"),
    "keys as a text": ('{"keys": "abc"}', None, 'expected {"keys": [...]}'),
    "no key": (ring(), "keys", "expected one active key, found 0"),
    "no active key": (ring(GOOD | {"status": "retired"}), "keys", "expected one active key, found 0"),
    "two active keys": (ring(GOOD, GOOD | {"id": "k3"}), "keys", "expected one active key, found 2"),
    "an id twice": (ring(GOOD, GOOD | {"status": "retired"}), "keys", "expected each id once"),
    "a key as a text": (ring(SECRET_TEXT), "keys[0]", "expected an object"),
    "an unknown field": (ring(GOOD | {"note": "x"}), "keys[0].note", "expected only id, secret, status, created_at"),
    "no secret": (ring({"id": "k", "status": "active"}), "keys[0].secret", "expected a text"),
    "no id": (ring({"secret": SECRET_TEXT, "status": "active"}), "keys[0].id", "expected a text"),
    "a number as an id": (ring(GOOD | {"id": 1}), "keys[0].id", "expected a text"),
    "a dot in an id": (ring(GOOD | {"id": "k.1"}), "keys[0].id", "expected 1 to 32 letters"),
    "another status": (ring(GOOD | {"status": "old"}), "keys[0].status", "expected active or retired"),
    "a number as a time": (ring(GOOD | {"created_at": 1}), "keys[0].created_at", "expected a text"),
    "no base64": (ring(GOOD | {"secret": "***" + SECRET_TEXT}), "keys[0].secret", "expected base64"),
    "cut base64": (ring(GOOD | {"secret": SECRET_TEXT[:-2]}), "keys[0].secret", "expected base64"),
    "letters outside of ASCII": (ring(GOOD | {"secret": "é" * 44}), "keys[0].secret", "expected base64"),
    "a short secret": (ring(key_entry(secret=ACTIVE_SECRET[:16])), "keys[0].secret", "at least 32 bytes, found 16"),
    "zeros": (ring(key_entry(secret=bytes(32))), "keys[0].secret", "found a pattern"),
    "a placeholder": (ring(GOOD | {"secret": "changeme" * 6}), "keys[0].secret", "found a placeholder"),
    "a bad retired key": (ring(GOOD, key_entry("k0", bytes(40), "retired")), "keys[1].secret", "found a pattern"),
}


@pytest.mark.parametrize(("text", "key", "message"), BAD.values(), ids=BAD)
def test_bad_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str | None, message: str) -> None:
    """What is no key ring is refused with place and expectation, and neither text nor cause holds the secret."""
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        KeyRing.load(path)
    assert message in str(caught.value)
    assert (caught.value.where, caught.value.key) == (str(path), key)
    assert SECRET_TEXT[:12] not in f"{caught.value!r} {caught.value.__dict__}"
    assert caught.value.__context__ is None
    monkeypatch.setenv("RING", text)
    with pytest.raises(ConfigurationError, match="environment variable RING: "):
        KeyRing.from_env("RING")


def test_load(keyring: KeyRing) -> None:
    """The active key is the one to mask with; retired ones are found by id."""
    assert keyring.active.id == "k2"
    retired = keyring.get("k1")
    assert retired is not None
    assert retired.status == "retired"
    assert keyring.get("k9") is None


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same JSON in an environment variable is the same ring; an unset or empty variable is an error."""
    monkeypatch.setenv("RING", ring(GOOD))
    assert KeyRing.from_env("RING").active.id == "k2"
    monkeypatch.setenv("RING", "")
    for name in ("RING", "RING_THAT_IS_NOT_SET"):
        with pytest.raises(ConfigurationError, match=f"environment variable {name}: expected a key ring"):
            KeyRing.from_env(name)


def test_generate(tmp_path: Path) -> None:
    """A new ring is for its owner only, random, and never written over another."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    rings = [KeyRing.generate(path) for path in (first, second)]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert rings[0].fingerprint() != rings[1].fingerprint()
    assert KeyRing.load(first).fingerprint() == rings[0].fingerprint()
    assert (rings[0].active.id, rings[0].active.status) == ("k1", "active")
    before = first.read_bytes()
    with pytest.raises(ConfigurationError, match="never overwritten"):
        KeyRing.generate(first)
    assert first.read_bytes() == before


def test_listing(keyring: KeyRing) -> None:
    """A listing has ids, states and fingerprints, and no secret."""
    listing = keyring.listing()
    assert [(entry["id"], entry["status"]) for entry in listing] == [("k2", "active"), ("k1", "retired")]
    assert [entry["fingerprint"] for entry in listing] == [keyring.fingerprint(), keyring.fingerprint("k1")]
    shown = json.dumps(listing) + repr(keyring) + str(keyring)
    for secret in (ACTIVE_SECRET, RETIRED_SECRET):
        assert base64.b64encode(secret).decode() not in shown
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_never_pickled(keyring: KeyRing) -> None:
    """A ring is not pickled or copied, and the refusal tells nothing."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"^a key ring is never pickled or copied$"):
            attempt(keyring)


def test_mode(tmp_path: Path) -> None:
    """A ring that others may read is refused."""
    path = write_keys(tmp_path / "keys.json", key_entry())
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="expected mode 0600, found 0644"):
        KeyRing.load(path)
