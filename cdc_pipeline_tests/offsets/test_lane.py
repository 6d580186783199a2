"""Two positions of a lane: the destination's and the copy."""

from __future__ import annotations

import json

import pytest

from cdc_pipeline.change import START, Position
from cdc_pipeline.errors import OffsetConflict
from cdc_pipeline.offsets import Lane, LaneState, OffsetCopy, Reconciled, copy_key, reconcile

LANE = Lane("warehouse", "node1")
FIRST, SECOND = Position("CommitLog-7-1.log", 900), Position("CommitLog-7-2.log", 10)


def state(position: Position) -> LaneState:
    return LaneState(LANE, position, 5, 2)


def copy(position: Position) -> OffsetCopy:
    return OffsetCopy(position, 5, 2)


def test_a_copy_survives_its_json() -> None:
    """What is written in the run storage is read back as it was."""
    assert OffsetCopy.from_json(OffsetCopy.of(state(FIRST)).to_json()) == copy(FIRST)
    assert json.loads(copy(FIRST).to_json()) == {
        "commitlog_file": "CommitLog-7-1.log",
        "commitlog_position": 900,
        "events_processed": 5,
        "epoch": 2,
    }
    assert copy_key(LANE) == "cdc/v1/offset/warehouse/node1"
    assert str(LANE) == "warehouse/node1"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"commitlog_file": 1}', '{"commitlog_file": "x", "commitlog_position": "y"}']
)
def test_what_is_no_copy(text: str) -> None:
    """A copy that cannot be read is an error, never a position."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        OffsetCopy.from_json(text)


@pytest.mark.parametrize(
    ("destination", "kept", "found"),
    [
        (START, None, Reconciled.ROLLED_FORWARD),
        (FIRST, None, Reconciled.ROLLED_FORWARD),
        (FIRST, START, Reconciled.ROLLED_FORWARD),
        (SECOND, FIRST, Reconciled.ROLLED_FORWARD),
        (FIRST, FIRST, Reconciled.EQUAL),
        (START, START, Reconciled.EQUAL),
    ],
)
def test_the_destination_is_the_truth(destination: Position, kept: Position | None, found: Reconciled) -> None:
    """A copy that is missing or behind is rolled forward; one that is equal goes."""
    assert reconcile(state(destination), copy(kept) if kept is not None else None) is found


@pytest.mark.parametrize(
    ("destination", "kept", "stands"),
    [
        (FIRST, SECOND, "CommitLog-7-1.log:900"),
        (START, FIRST, "the start"),
        (FIRST, Position("CommitLog-7-1.log", 901), "CommitLog-7-1.log:900"),
    ],
)
def test_a_copy_that_is_ahead_stops(destination: Position, kept: Position, stands: str) -> None:
    """A destination that was restored or wiped is not loaded into before somebody says so."""
    with pytest.raises(OffsetConflict) as caught:
        reconcile(state(destination), copy(kept))
    assert str(caught.value).startswith(
        f"lane warehouse/node1: the copy of the offset stands at {kept}, the destination at {stands}: "
    )
