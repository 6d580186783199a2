"""A dropped bit anywhere in a recording is harmless or reported with its place: never a wrong value, never silence."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from cdc_pipeline.decode import Decoder
from cdc_pipeline_tests.fuzz.flips import Decoded, Flip, Whole, decoded, draw_flip
from cdc_pipeline_tests.live.follow import not_cassandras_own
from cdc_pipeline_tests.recordings import NAMES, Recording

Open = Callable[[str], Recording]

SEED = int(os.environ.get("CDC_FUZZ_SEED") or 4)
PLACES = int(os.environ.get("CDC_FUZZ_PLACES") or 20)


def check_flips(recording: Recording, folder: Path, places: int) -> None:
    """Drops one bit after the other, each in the file as it was."""
    rng = random.Random(f"{SEED} {recording.name}")
    decoder = Decoder(recording.history or recording.schema, not_cassandras_own, keys=recording.keys())
    segments = [Whole.of(path, decoder) for path in recording.main.segments()]
    segments = [segment for segment in segments if segment.sections]
    sizes = [segment.sections[-1].end for segment in segments]
    for _ in range(places):
        (segment,) = rng.choices(segments, sizes)
        flip = draw_flip(rng, len(segment.data), segment.sections)
        path = folder / segment.path.name
        path.write_bytes(flip.of(segment.data))
        segment.check(flip, decoded(decoder, path))


def test_silence_is_noticed(open_recording: Open) -> None:
    """A change that is missing without a report, or that has another value, fails the check."""
    recording = open_recording("tombstones-5.0")
    decoder = Decoder(recording.schema, not_cassandras_own)
    segments = [Whole.of(path, decoder) for path in recording.main.segments()]
    segment = next(one for one in segments if one.decoded.tables)
    flip = Flip(segment.sections[-1].start + 20, 0)
    segment.check(flip, segment.decoded)
    table, changes = next(iter(segment.decoded.tables.items()))
    keep = np.arange(len(changes.positions)) > 0
    with pytest.raises(AssertionError, match="is missing in silence"):
        segment.check(flip, Decoded({**segment.decoded.tables, table: changes.kept(keep)}, segment.decoded.damage))
    writetimes = changes.rows.column_names.index("del_ts")
    altered = changes.rows.set_column(writetimes, "del_ts", pc.add(changes.rows.column("del_ts"), 1))
    with pytest.raises(AssertionError, match="another value"):
        segment.check(flip, Decoded({table: dataclasses.replace(changes, rows=altered)}, segment.decoded.damage))
    with pytest.raises(AssertionError, match="a damaged header was read"):
        segment.check(Flip(3, 0), segment.decoded)


@pytest.mark.parametrize("name", NAMES)
def test_some_places(open_recording: Open, tmp_path: Path, name: str) -> None:
    """A share of the places."""
    check_flips(open_recording(name), tmp_path, PLACES)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_places(open_recording: Open, tmp_path: Path, name: str) -> None:
    """As many as the claim was made for."""
    check_flips(open_recording(name), tmp_path, 1000)
