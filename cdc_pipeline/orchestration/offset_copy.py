"""The copy of the offsets in Dagster's run storage (`instance.daemon_cursor_storage`, table `kvs`).

Its traps: one call that mixes new and known keys loses the new ones on SQLite; calls with several keys deadlock on
PostgreSQL; there is no compare-and-set; and where it is not supported it returns an exception instead of raising it.
Hence one key per write, one writer per key, and a probe before the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import dagster as dg

from cdc_pipeline.errors import CdcError
from cdc_pipeline.offsets import Lane, LaneState, OffsetCopy, copy_key

_EVERY_SECONDS = 1.0


class OffsetCopies:
    """The copies of all lanes, and beside each the mark of the log at which its lane had nothing left to load."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._storage = instance.daemon_cursor_storage

    def probe(self, lane: Lane, run_id: str) -> None:
        """`CdcError` unless what is written can be read again."""
        key = f"cdc/v1/probe/{lane}"
        self._set(key, run_id)
        if self._get([key]).get(key) != run_id:
            raise CdcError("Dagster's run storage: expected it to keep a value, found that it does not")

    def read(self, lane: Lane) -> OffsetCopy | None:
        """The copy of a lane; None when there is none."""
        return self.read_all([lane])[lane][0]

    def read_all(self, lanes: Iterable[Lane]) -> dict[Lane, tuple[OffsetCopy | None, str | None]]:
        """(copy, drained mark) of each lane, in one question."""
        asked = list(lanes)
        values = self._get([key for lane in asked for key in (copy_key(lane), _drained_key(lane))])
        return {
            lane: (_parsed(lane, values.get(copy_key(lane))), values.get(_drained_key(lane)) or None) for lane in asked
        }

    def write(self, state: LaneState) -> None:
        """The copy of a state that is committed in the destination."""
        self._set(copy_key(state.lane), OffsetCopy.of(state).to_json())

    def write_drained(self, lane: Lane, mark: str) -> None:
        """Nothing is left beyond the lane's offset while the log looks like this."""
        self._set(_drained_key(lane), mark)

    def drop(self, lane: Lane) -> None:
        """Forgets a lane: the destination's row alone counts. The storage cannot delete, so it is emptied."""
        self._set(copy_key(lane), "")
        self._set(_drained_key(lane), "")

    def _set(self, key: str, value: str) -> None:
        self._storage.set_cursor_values({key: value})

    def _get(self, keys: list[str]) -> Mapping[str, str]:
        values = self._storage.get_cursor_values(set(keys))
        if not isinstance(values, Mapping):
            raise CdcError("Dagster's run storage: expected it to keep offsets, found that it does not support them")
        return values


class SecondlyCopy:
    """Writes a lane's copy about once a second, however often it is called."""

    def __init__(self, copies: OffsetCopies) -> None:
        self._copies = copies
        self._next = 0.0

    def __call__(self, state: LaneState) -> None:
        if time.monotonic() >= self._next:
            self._copies.write(state)
            self._next = time.monotonic() + _EVERY_SECONDS


def _drained_key(lane: Lane) -> str:
    return f"cdc/v1/drained/{lane}"


def _parsed(lane: Lane, text: str | None) -> OffsetCopy | None:
    if not text:
        return None
    try:
        return OffsetCopy.from_json(text)
    except (ValueError, KeyError, TypeError):
        raise CdcError(
            f"lane {lane}: expected the copy of an offset under {copy_key(lane)}, found other text"
        ) from None
