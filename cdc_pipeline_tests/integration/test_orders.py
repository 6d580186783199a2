"""Every recording with a truth gives it in any order, any number of times, and killed in between.

`CDC_RECORDINGS` names a folder of unpacked recordings, of which `make test-long` loads every one in every order.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline_tests.integration import recorded
from cdc_pipeline_tests.integration.recorded import Recorded
from cdc_pipeline_tests.integration.stores import ClickHouseStore, PostgresStore, Store
from cdc_pipeline_tests.recordings import NAMES, Recording

Open = Callable[[str], Recording]

FOLDER = os.environ.get("CDC_RECORDINGS")
GIVEN = sorted(path for path in Path(FOLDER).glob("*") if (path / "expected").is_dir()) if FOLDER else []


def load_in_every_order(one: Recorded, rng: random.Random, orders: Sequence[str]) -> int:
    """Loads a recording once for each order and compares each time; returns how many rows its truth has."""
    there, store = one.workspace("forward")
    with there.project() as project:
        ends = recorded.forward(project)
        compared = one.assert_truth(project, ends, store)
        for name in orders:
            there, store = one.workspace(name)
            with there.project() as another:
                recorded.ORDERS[name](another, ends, rng, store)
                one.assert_truth(another, ends, store)
    there, store = one.workspace("killed")
    recorded.killed(there, store, rng, 12)
    with there.project() as project:
        one.assert_truth(project, recorded.forward(project), store)
    return compared


QUICK = ("crash-5.0", "counters-5.0")
"""What ClickHouse is asked for each time; the others by `make test-long`."""


@pytest.fixture(params=["postgres", "clickhouse"])
def make_store(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """A function that makes one more empty store. Every other ClickHouse never merges its parts."""
    if request.param == "postgres":
        make_pg_database = request.getfixturevalue("make_pg_database")
        return lambda: PostgresStore(make_pg_database())
    make_ch_database = request.getfixturevalue("make_ch_database")
    merging = itertools.cycle((True, False))
    return lambda: ClickHouseStore(make_ch_database(), merging=next(merging))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Of `CDC_ORDER_SEED`; else the same each time, and for `make test-long` another one, which is printed."""
    explores = request.node.get_closest_marker("long") is not None
    seed = os.environ.get("CDC_ORDER_SEED") or (random.SystemRandom().randrange(10**6) if explores else 4)
    print(f"CDC_ORDER_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


def _cases() -> list[Any]:
    slow = [pytest.mark.long, pytest.mark.timeout(1200)]
    cases = [("postgres", name, []) for name in NAMES]
    cases += [("clickhouse", name, [] if name in QUICK else slow) for name in NAMES]
    return [pytest.param(store, name, marks=marks, id=f"{store}-{name}") for store, name, marks in cases]


@pytest.mark.parametrize(("make_store", "name"), _cases(), indirect=["make_store"])
def test_every_order_gives_the_truth(
    open_recording: Open, make_store: Callable[[], Store], rng: random.Random, tmp_path: Path, name: str
) -> None:
    """Forward, in reverse, tripled in any order, and killed, a shipped recording becomes what its node answered."""
    one = Recorded(open_recording(name), tmp_path, make_store)
    assert load_in_every_order(one, rng, ["reverse", "tripled"]) > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", GIVEN, ids=[path.name for path in GIVEN])
def test_given_recordings_give_the_truth(
    make_store: Callable[[], Store], rng: random.Random, tmp_path: Path, path: Path
) -> None:
    """A recording of `CDC_RECORDINGS`, in every order, its micro-batches shuffled once more."""
    one = Recorded(Recording(path.name, path), tmp_path, make_store)
    assert load_in_every_order(one, rng, [*recorded.ORDERS]) > 0
