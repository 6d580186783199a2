from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from cdc_pipeline.change import Position
from cdc_pipeline.errors import CdcError
from cdc_pipeline.offsets import Lane, LaneState, OffsetCopy, copy_key
from cdc_pipeline.orchestration import OffsetCopies
from cdc_pipeline.orchestration.offset_copy import SecondlyCopy

LANES = [Lane("warehouse", f"node{number}") for number in range(3)]


def state(lane: Lane, offset: int) -> LaneState:
    """A lane's state at an offset."""
    return LaneState(lane, Position("CommitLog-7-1.log", offset), events_processed=offset, epoch=1)


def test_what_is_written_is_read(sqlite_instance: dg.DagsterInstance) -> None:
    """Lanes old and new keep their copies apart, in a storage that loses keys written together."""
    copies = OffsetCopies(sqlite_instance)
    for round_ in (1, 2):
        for lane in LANES[: round_ + 1]:
            copies.write(state(lane, round_))
    assert {lane: copy for lane, (copy, _) in copies.read_all(LANES).items()} == {
        lane: OffsetCopy.of(state(lane, 2)) for lane in LANES
    }


def test_a_lane_without_a_copy(instance: dg.DagsterInstance) -> None:
    """Nothing is known of a lane that never ran."""
    assert OffsetCopies(instance).read_all(LANES[:1]) == {LANES[0]: (None, None)}


def test_dropping_forgets(instance: dg.DagsterInstance) -> None:
    """A dropped copy, and the mark beside it, are as if never written."""
    copies = OffsetCopies(instance)
    copies.write(state(LANES[0], 1))
    copies.write_drained(LANES[0], "mark")
    copies.drop(LANES[0])
    assert copies.read_all(LANES[:1]) == {LANES[0]: (None, None)}


def test_a_foreign_text_is_refused(instance: dg.DagsterInstance) -> None:
    """A key that holds no copy is named, and not taken for none."""
    instance.daemon_cursor_storage.set_cursor_values({copy_key(LANES[0]): "{}"})
    with pytest.raises(CdcError, match="lane warehouse/node0: expected the copy of an offset under cdc/v1/offset"):
        OffsetCopies(instance).read(LANES[0])


def test_the_probe_passes(instance: dg.DagsterInstance) -> None:
    """A storage that keeps values passes, every time."""
    for run_id in ("a", "b"):
        OffsetCopies(instance).probe(LANES[0], run_id)


@pytest.mark.parametrize("answer", [NotImplementedError(), {}])
def test_a_storage_that_keeps_nothing_is_found_out(answer: Any) -> None:
    """Dagster+ returns an exception without raising it; the probe says so before anything relies on it."""

    class Deaf:
        """What such an instance offers."""

        daemon_cursor_storage = property(lambda self: self)

        def set_cursor_values(self, _: Any) -> Any:
            return answer

        def get_cursor_values(self, _: Any) -> Any:
            return answer

    with pytest.raises(CdcError, match="Dagster's run storage: expected it to keep"):
        OffsetCopies(Deaf()).probe(LANES[0], "a")  # type: ignore[arg-type]


def test_the_copy_is_written_about_once_a_second(instance: dg.DagsterInstance) -> None:
    """Many commits within a second write the copy once."""
    copies = OffsetCopies(instance)
    keep = SecondlyCopy(copies)
    for offset in range(1, 50):
        keep(state(LANES[0], offset))
    copy = copies.read(LANES[0])
    assert copy is not None
    assert copy.position.offset == 1
