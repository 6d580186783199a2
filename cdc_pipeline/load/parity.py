"""Whether what users read equals a truth, row by row, whatever the destination.

The truth is rows of serialized values, as a recording's `expected/*.raw.jsonl` holds them: `null` is no value, `0x`
zero bytes, a collection its frozen form. A destination takes it through the mask and its types (`Sink.compare`), and
then compares rows as text.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from cdc_pipeline.transform import Masker, mask_input
from cdc_pipeline.types import (
    CqlType,
    ListType,
    MapType,
    SetType,
    UserType,
    field_label,
    json_string,
    map_key_json,
    part_json,
    split_collection,
)

TruthRow = Mapping[str, bytes | None]


@dataclasses.dataclass(frozen=True)
class Parity:
    """Rows of a table: equal ones, those only in the truth and only in the destination (as the view's row text)."""

    table: str
    equal: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @classmethod
    def of(cls, table: str, wanted: Counter[str], found: Counter[str]) -> Parity:
        """Of the rows' texts, in the truth and in the destination."""
        missing, extra = wanted - found, found - wanted
        return cls(
            table,
            (wanted & found).total(),
            tuple(sorted(missing.elements())),
            tuple(sorted(extra.elements())),
        )

    @property
    def expected(self) -> int:
        """Rows of the truth."""
        return self.equal + len(self.missing)

    @property
    def holds(self) -> bool:
        """Whether both are the same."""
        return not self.missing and not self.extra


def read_truth(path: Path) -> Iterator[TruthRow]:
    """The rows of a `.raw.jsonl` file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield {name: None if text is None else bytes.fromhex(text[2:]) for name, text in row.items()}


def masked_text(masker: Masker, kind: CqlType, raw: bytes) -> str | None:
    """A masked value as its view shows it; a non-frozen column is JSON of masked parts."""
    if not kind.multi_cell:
        return _mask_one(masker, kind, raw)
    parts = split_collection(kind, raw)

    def quoted(part_type: CqlType, part: bytes | None) -> str:
        text = None if part is None else _mask_one(masker, part_type, part)
        return "null" if text is None else json_string(text)

    if isinstance(kind, MapType):
        key = part_json(kind.key)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return "{" + ", ".join(f"{map_key_json(key(k or b''))}: {quoted(kind.value, v)}" for k, v in pairs) + "}"
    if isinstance(kind, UserType):
        parts = [*parts, *[None] * (len(kind.field_types) - len(parts))]
        pairs_of = zip(kind.field_names, kind.field_types, parts, strict=True)
        labels = ((field_label(n), t, p) for n, t, p in pairs_of)
        return "{" + ", ".join(f"{label}: {quoted(t, p)}" for label, t, p in labels) + "}"
    assert isinstance(kind, ListType | SetType)
    texts = [quoted(kind.element, part) for part in parts]
    return "[" + ", ".join(sorted(texts) if isinstance(kind, SetType) else texts) + "]"


def _mask_one(masker: Masker, kind: CqlType, raw: bytes) -> str | None:
    text = mask_input(kind)(raw)
    return masker.mask([text])[0] if text is not None else None
