"""What may be kept of a mutation that nobody can read: which of its bytes belong to a masked column is not known.

So its bytes are kept encrypted (AES-SIV under a subkey of its own) where there is a key ring, in the clear where
nothing is ever masked, and not at all else: the place in the log leads back to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masks import open_token, phi_tokenize, split_token

DOMAIN = "cdc.mutation"
"""The domain of the subkey; no rule can name it as a column's without masking that column with it."""


def seal_mutation(raw: bytes, ring: KeyRing | None, *, in_the_clear: bool) -> dict[str, Any]:
    """The SHA-256 of the bytes, and the bytes themselves as `sealed` or `hex` where that is allowed."""
    found: dict[str, Any] = {"sha256": hashlib.sha256(raw).hexdigest()}
    if ring is not None:
        found["sealed"] = phi_tokenize(ring.active, DOMAIN)(raw, b"")
    elif in_the_clear:
        found["hex"] = raw.hex()
    return found


def open_mutation(kept: Mapping[str, Any], ring: KeyRing | None) -> bytes | None:
    """The bytes again; None when they were not kept, or the ring lacks the key."""
    if "hex" in kept:
        return bytes.fromhex(kept["hex"])
    parts = split_token(kept.get("sealed", ""))
    if parts is None or ring is None:
        return None
    key = ring.get(parts[0])
    return open_token(key, DOMAIN, parts[1], b"") if key is not None else None
