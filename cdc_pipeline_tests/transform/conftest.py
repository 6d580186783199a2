"""A key ring of fixed keys, and ways to write rules and decisions."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.rules import MaskingRules

unhurried = settings(deadline=None)  # a busy machine is no finding

# fixed, 32 bytes each, and random enough to be taken
ACTIVE_SECRET = hashlib.sha256(b"active").digest()
RETIRED_SECRET = hashlib.sha256(b"retired").digest()


def key_entry(key_id: str = "k2", secret: bytes = ACTIVE_SECRET, status: str = "active") -> dict[str, object]:
    """One entry of keys.json."""
    return {"id": key_id, "secret": base64.b64encode(secret).decode(), "status": status}


def write_keys(path: Path, *entries: dict[str, object]) -> Path:
    """A key file of mode 0600."""
    path.write_text(json.dumps({"keys": list(entries)}))
    path.chmod(0o600)
    return path


@pytest.fixture
def keyring(tmp_path: Path) -> KeyRing:
    """Active k2 and retired k1."""
    entries = key_entry(), key_entry("k1", RETIRED_SECRET, "retired")
    return KeyRing.load(write_keys(tmp_path / "keys.json", *entries))


@pytest.fixture
def load_rules(tmp_path: Path) -> Callable[[str], MaskingRules]:
    """Rules from YAML text."""

    def load(text: str) -> MaskingRules:
        path = tmp_path / "masking.yaml"
        path.write_text(text)
        return MaskingRules.load(path)

    return load
