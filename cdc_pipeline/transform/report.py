"""What was masked, how, and how much of it; without a value. Reports of micro-batches add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.masker import Masked, Masker

_Key = tuple[Decision, str | None]  # a decision, and the id of the key that masked: both may change between runs
_Values = TypeVar("_Values")


@dataclass(frozen=True)
class Counts:
    """Values of one column: masked, null, and failed (parked)."""

    masked: int = 0
    null: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.masked + other.masked, self.null + other.null, self.failed + other.failed)


@dataclass(frozen=True)
class MaskingReport:
    """Counts by decision and key id, for every column that was decided about, masked or not; immutable."""

    columns: Mapping[_Key, Counts] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, decisions: Iterable[Decision], key_id: str | None = None) -> MaskingReport:
        """Decisions without counts yet; `key_id` is the active key's, kept for masked columns only."""
        return cls(MappingProxyType({(item, key_id if item.masked else None): Counts() for item in decisions}))

    @classmethod
    def counted(cls, masker: Masker, result: Masked[_Values]) -> MaskingReport:
        """What one call of a masker did."""
        counts = Counts(result.masked, result.null, len(result.failed))
        return cls(MappingProxyType({(masker.decision, masker.key_id): counts}))

    def __add__(self, other: MaskingReport) -> MaskingReport:
        merged = dict(self.columns)
        for key, counts in other.columns.items():
            merged[key] = merged.get(key, Counts()) + counts
        return MaskingReport(MappingProxyType(merged))

    @property
    def unclassified(self) -> tuple[str, ...]:
        """The columns that may hold text and that nobody classified, as `keyspace.table.column`, sorted."""
        return tuple(sorted({decision.name for decision, _ in self.columns if decision.unclassified_text}))

    @property
    def excluded(self) -> tuple[str, ...]:
        """The columns that are not loaded, because nobody classified them and `unclassified` is deny; sorted."""
        return tuple(sorted({decision.name for decision, _ in self.columns if decision.excluded}))

    @property
    def needs_review(self) -> bool:
        """Whether a check turns yellow: unclassified text under `review`."""
        return any(decision.needs_review for decision, _ in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: a list of columns sorted by name, and the names of unclassified and excluded ones."""
        ordered = sorted(self.columns.items(), key=lambda item: (item[0][0].name, item[0][1] or ""))
        return {
            "columns": [_column(decision, key_id, counts) for (decision, key_id), counts in ordered],
            "unclassified": list(self.unclassified),
            "excluded": list(self.excluded),
            "needs_review": self.needs_review,
        }


def _column(decision: Decision, key_id: str | None, counts: Counts) -> dict[str, object]:
    return {
        "keyspace": decision.keyspace,
        "table": decision.table,
        "column": decision.column,
        "strategy": str(decision.strategy),
        "source": decision.source,
        "rule": decision.rule,
        "domain": decision.domain,
        "scope": str(decision.scope),
        "normalise": [str(step) for step in decision.normalise],
        "key_id": key_id,
        "masked": counts.masked,
        "null": counts.null,
        "failed": counts.failed,
    }
