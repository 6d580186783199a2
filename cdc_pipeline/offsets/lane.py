"""Records of a lane (one destination x one shard) and the reconciliation of its two positions."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from enum import StrEnum

from cdc_pipeline.change import START, Position
from cdc_pipeline.errors import LaneLost, OffsetConflict


@dataclass(frozen=True, slots=True)
class Lane:
    """A destination's name and a shard's."""

    destination: str
    shard: str

    def __str__(self) -> str:
        return f"{self.destination}/{self.shard}"


@dataclass(frozen=True, slots=True)
class LaneState:
    """The row of `cdc_offsets`: position, changes processed so far, and the epoch of the writer that holds the lane."""

    lane: Lane
    position: Position = START
    events_processed: int = 0
    epoch: int = 0
    last_committed_at: dt.datetime | None = None
    run_id: str = ""


def fenced(held: LaneState, found: LaneState | None, position: Position) -> LaneState | None:
    """Whether a writer that holds the lane as `held` may go on to `position`, by the row that it found.

    A row that stands at `position` under our epoch was moved there by our own write, whose reply was lost: it is
    returned. `LaneLost` when epoch or position moved on otherwise, `OffsetConflict` when they went back.
    """
    lane = held.lane
    where = f"epoch {found.epoch} at {found.position}" if found is not None else "no row"
    if found is None or found.epoch < held.epoch or (found.epoch == held.epoch and found.position < held.position):
        raise OffsetConflict(
            f"lane {lane}: expected epoch {held.epoch} at {held.position}, found {where}: the destination went back, "
            "restored, or crashed before it had made durable what it committed"
        )
    if found.epoch != held.epoch or found.position not in (held.position, position):
        raise LaneLost(f"lane {lane}: expected epoch {held.epoch} at {held.position}, found {where}")
    return found if found.position != held.position else None


@dataclass(frozen=True, slots=True)
class OffsetCopy:
    """The copy in Dagster's run storage: the same facts, written about once a second."""

    position: Position
    events_processed: int
    epoch: int

    @classmethod
    def of(cls, state: LaneState) -> OffsetCopy:
        """The copy of a lane's state."""
        return cls(state.position, state.events_processed, state.epoch)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(
            {
                "commitlog_file": self.position.segment,
                "commitlog_position": self.position.offset,
                "events_processed": self.events_processed,
                "epoch": self.epoch,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> OffsetCopy:
        """The inverse; `ValueError` or `KeyError` when it is no copy."""
        raw = json.loads(text)
        position = Position(str(raw["commitlog_file"]), int(raw["commitlog_position"]))
        return cls(position, int(raw["events_processed"]), int(raw["epoch"]))


def copy_key(lane: Lane) -> str:
    """The key of a lane's copy in `instance.daemon_cursor_storage`."""
    return f"cdc/v1/offset/{lane.destination}/{lane.shard}"


class Reconciled(StrEnum):
    """What was found at start."""

    EQUAL = "equal"
    ROLLED_FORWARD = "rolled_forward"


def reconcile(state: LaneState, copy: OffsetCopy | None) -> Reconciled:
    """Compares the destination's row with the copy: behind is rolled forward, equal goes, ahead stops.

    `OffsetConflict` when the copy is ahead: the destination was restored or wiped, and only an operator can know.
    """
    if copy is None or copy.position < state.position:
        return Reconciled.ROLLED_FORWARD
    if copy.position > state.position:
        raise OffsetConflict(
            f"lane {state.lane}: the copy of the offset stands at {copy.position}, the destination at "
            f"{state.position if state.position != START else 'the start'}: it was restored or wiped; drop the copy "
            "to load again from there, or restore a newer destination"
        )
    return Reconciled.EQUAL
