"""What a pass over a lane did: micro-batches add up; the orchestration copies the fields into metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc_pipeline.change import Position
from cdc_pipeline.dlq import DeadLetterEvent
from cdc_pipeline.load import Encoded, Truncation
from cdc_pipeline.offsets import LaneState
from cdc_pipeline.transform import MaskingReport


@dataclass
class Prepared:
    """A micro-batch between decoding and writing, with its counts; `newest` is its greatest writetime (µs)."""

    position: Position
    batches: Sequence[Encoded]
    letters: Sequence[DeadLetterEvent]
    changes: Counter[str]
    mutations: int
    filtered: int
    masking: MaskingReport
    newest: int | None = None
    truncations: Sequence[Truncation] = ()

    @property
    def events(self) -> int:
        """Changes, parked ones included: what `events_processed` rises by."""
        return self.changes.total()


@dataclass
class LaneResult:
    """Counts of one run of a lane: `parked` by reason, `changes` by table; `lag_seconds` is the newest change's age."""

    mutations: int = 0
    filtered: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)
    parked_changes: int = 0
    parked_by_table: Counter[str] = field(default_factory=Counter)
    micro_batches: int = 0
    problems: list[str] = field(default_factory=list)
    masking: MaskingReport = field(default_factory=MaskingReport)
    state: LaneState | None = None
    lag_seconds: float | None = None

    def add(self, prepared: Prepared) -> None:
        """Counts a micro-batch that is written."""
        self.mutations += prepared.mutations
        self.filtered += prepared.filtered
        self.changes.update(prepared.changes)
        self.masking += prepared.masking
        self.micro_batches += 1
        for letter in prepared.letters:
            self.parked[str(letter.reason)] += 1
            if letter.reason.is_change:
                self.parked_changes += 1
                self.parked_by_table[f"{letter.keyspace}.{letter.table}"] += 1
            else:
                self.problems.append(letter.message)

    @property
    def applied(self) -> int:
        """Changes that are in the destination."""
        return self.changes.total() - self.parked_changes

    @property
    def needs_attention(self) -> bool:
        """Whether something was parked or could not be read."""
        return bool(self.parked or self.problems)
