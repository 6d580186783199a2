"""Masks whole columns: distinct values only, in process memory only, and no value in any message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdc_pipeline.errors import MaskingFailed
from cdc_pipeline.transform.classify import MaskingStrategy
from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masks import normalised, open_token, phi_tokenize, pii_hash, row_context, split_token
from cdc_pipeline.transform.rule import Scope

# across calls two generations of at most this many values of at most this many bytes each are kept, the older one
# dropped whole: with their masks less than 16 MB per masker
RECENT_VALUES = 8_192
RECENT_VALUE_BYTES = 256

_Values = TypeVar("_Values", covariant=True)


@dataclass(frozen=True)
class Masked(Generic[_Values]):
    """A masked column of the input's length: null where the input is null, and where masking failed."""

    values: _Values
    masked: int
    null: int
    failed: tuple[int, ...]  # row ordinals, from 0, to be parked


class Masker:
    """Masks one column by its decision, with the active key; retired keys only reveal.

    Holds values seen lately (at most 2 x 8 192, none above 256 bytes) in memory; not printable, not picklable.
    """

    __slots__ = ("_keyring", "_mask", "_older", "_recent", "_steps", "decision", "key_id")

    def __init__(self, decision: Decision, keyring: KeyRing) -> None:
        """ValueError for a decision that masks nothing."""
        if not decision.masked:
            raise ValueError(f"column {decision.name}: expected a strategy that masks, found NONE")
        key = keyring.active
        make = pii_hash if decision.strategy is MaskingStrategy.PII_HASH else phi_tokenize
        self.decision = decision
        self.key_id = key.id
        self._mask = make(key, decision.domain)
        self._steps = decision.normalise
        self._keyring = keyring
        self._recent: dict[bytes, str] = {}
        self._older: dict[bytes, str] = {}

    def mask(self, values: Sequence[bytes | None], row_ids: Sequence[bytes] | None = None) -> list[str | None]:
        """Texts for bytes, None for None, in order; `row_ids` (primary key bytes) are needed for scope row.

        MaskingFailed if a single value fails; `try_mask` tells which, so that they can be parked alone.
        """
        return _all(self.try_mask(values, row_ids), self.decision).values

    def mask_array(self, array: pa.BinaryArray, row_ids: Sequence[bytes] | None = None) -> pa.StringArray:
        """The Arrow form of `mask`: a string array of the same length."""
        return _all(self.try_mask_array(array, row_ids), self.decision).values

    def try_mask(
        self, values: Sequence[bytes | None], row_ids: Sequence[bytes] | None = None
    ) -> Masked[list[str | None]]:
        """As `mask`, but a value that fails is None and its ordinal is in `failed`.

        MaskingFailed only for what concerns the whole column: row ids missing, or not one per value.
        """
        if self.decision.scope is Scope.ROW:
            texts = self._by_row(values, row_ids)
        else:
            known = self._distinct(value for value in values if type(value) is bytes)
            texts = [known[value] if type(value) is bytes else None for value in values]
        failed = tuple(
            at for at, (value, text) in enumerate(zip(values, texts, strict=True)) if text is None and value is not None
        )
        null = texts.count(None) - len(failed)
        return Masked(texts, len(texts) - null - len(failed), null, failed)

    def try_mask_array(self, array: pa.BinaryArray, row_ids: Sequence[bytes] | None = None) -> Masked[pa.StringArray]:
        """As `mask_array`, but a value that fails is null and its ordinal is in `failed`."""
        if not pa.types.is_binary(array.type):
            raise MaskingFailed(f"column {self.decision.name}: expected a binary array, found {array.type}")
        if self.decision.scope is Scope.ROW:
            rows = self.try_mask(array.to_pylist(), row_ids)
            return Masked(pa.array(rows.values, pa.string()), rows.masked, rows.null, rows.failed)
        encoded = array.dictionary_encode()
        known = self._distinct(value for value in encoded.dictionary.to_pylist() if value is not None)
        texts = pa.array(list(known.values()), pa.string()).take(encoded.indices)  # in the dictionary's order
        failed: tuple[int, ...] = ()
        if texts.null_count > array.null_count:
            lost = pc.and_(texts.is_null(), array.is_valid()).to_numpy(zero_copy_only=False)
            failed = tuple(np.flatnonzero(lost).tolist())
        return Masked(texts, len(texts) - texts.null_count, array.null_count, failed)

    def reveal(self, token: str, row_id: bytes | None = None) -> bytes:
        """The bytes behind a token (as they were after `normalise`), with the key that its text names.

        MaskingFailed for a hash (one way), an unknown key, another domain or row, or a changed token.
        """
        parts = split_token(token)
        if self.decision.strategy is not MaskingStrategy.PHI_TOKENIZE or parts is None:
            raise MaskingFailed(f"column {self.decision.name}: expected a t1 token of PHI_TOKENIZE")
        key = self._keyring.get(parts[0])
        if key is None:
            raise MaskingFailed(f"column {self.decision.name}: the key ring has no key of the token's id")
        context = b""
        if self.decision.scope is Scope.ROW:
            if row_id is None:
                raise MaskingFailed(f"column {self.decision.name}: expected a row id for scope row, found none")
            context = row_context(self.decision, row_id)
        value = open_token(key, self.decision.domain, parts[1], context)
        if value is None:
            raise MaskingFailed(f"column {self.decision.name}: the token is not of this key, domain or row")
        return value

    def __repr__(self) -> str:
        return f"Masker({self.decision.name}, {self.decision.strategy}, key_id={self.key_id!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a masker is never pickled or copied")

    def _by_row(self, values: Sequence[bytes | None], row_ids: Sequence[bytes] | None) -> list[str | None]:
        if row_ids is None or len(row_ids) != len(values):
            found = "none" if row_ids is None else str(len(row_ids))
            raise MaskingFailed(f"column {self.decision.name}: expected {len(values)} row ids, found {found}")
        return [
            None if value is None else self._text(value, row_id) for value, row_id in zip(values, row_ids, strict=True)
        ]

    def _distinct(self, values: Iterable[bytes]) -> dict[bytes, str | None]:
        """The mask of each distinct value; None where it failed."""
        known: dict[bytes, str | None] = dict.fromkeys(values)
        recent, older, text_of = self._recent, self._older, self._text
        for value in known:
            known[value] = recent.get(value) or older.get(value) or text_of(value)
        if len(known) <= RECENT_VALUES:  # a column of that many distinct values gains nothing from being remembered
            self._remember(known)
        return known

    def _remember(self, known: dict[bytes, str | None]) -> None:
        short = {value: text for value, text in known.items() if text and len(value) <= RECENT_VALUE_BYTES}
        if len(self._recent) + len(short) > RECENT_VALUES:
            self._older, self._recent = self._recent, short
        else:
            self._recent.update(short)

    def _text(self, value: bytes, row_id: bytes | None = None) -> str | None:
        try:
            if self._steps:
                value = normalised(value, self._steps)
            return self._mask(value, b"" if row_id is None else row_context(self.decision, row_id))
        except Exception:  # fail closed: whatever it is, the value is not loaded, and its text may hold the value
            return None


def _all(result: Masked[_Values], decision: Decision) -> Masked[_Values]:
    if result.failed:
        total = result.masked + result.null + len(result.failed)
        found = f"{len(result.failed)} of {total} values could not be masked, the first at row {result.failed[0]}"
        raise MaskingFailed(f"column {decision.name}: {found}")
    return result
