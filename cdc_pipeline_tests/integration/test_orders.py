"""Every recording with a truth gives it in any order, any number of times, and killed in between.

`CDC_RECORDINGS` names a folder of unpacked recordings, of which `make test-long` loads every one in every order.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline_tests.integration import recorded
from cdc_pipeline_tests.integration.recorded import Recorded
from cdc_pipeline_tests.recordings import NAMES, Recording

Open = Callable[[str], Recording]

SEED = int(os.environ.get("CDC_ORDER_SEED") or random.SystemRandom().randrange(10**6))
FOLDER = os.environ.get("CDC_RECORDINGS")
GIVEN = sorted(path.parent for path in Path(FOLDER).glob("*/expected")) if FOLDER else []
ORDERS = ("forward", *recorded.ORDERS, "killed")


def load(one: Recorded, order: str, rng: random.Random) -> int:
    """Loads a recording in an order; returns how many rows of the truth were compared."""
    with one.workspace("forward").project() as project:
        ends = recorded.forward(project)
        conninfo = project.conninfo("warehouse")
        if order in recorded.ORDERS:
            there = one.workspace(order)
            with there.project() as another:
                recorded.ORDERS[order](another, ends, rng)
            conninfo = there.conninfo
        return one.assert_truth(ends, conninfo)


def load_killed(one: Recorded, rng: random.Random) -> int:
    """Loads a recording with deaths on the way."""
    there = one.workspace("killed")
    recorded.killed(there, rng, 12)
    with there.project() as project:
        return one.assert_truth(recorded.forward(project), there.conninfo)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NAMES)
def test_every_order_gives_the_truth(
    open_recording: Open, make_pg_database: Callable[[], str], tmp_path: Path, name: str, order: str
) -> None:
    """Forward, in reverse, shuffled, tripled and killed, a shipped recording becomes what its node answered."""
    one = Recorded(open_recording(name), tmp_path, make_pg_database)
    rng = random.Random(f"{SEED} {name} {order}")
    print(f"CDC_ORDER_SEED={SEED}")
    assert (load_killed(one, rng) if order == "killed" else load(one, order, rng)) > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("path", GIVEN, ids=[path.name for path in GIVEN])
def test_given_recordings_give_the_truth(make_pg_database: Callable[[], str], tmp_path: Path, path: Path) -> None:
    """A recording of `CDC_RECORDINGS`, in every order."""
    one = Recorded(Recording(path.name, path), tmp_path, make_pg_database)
    rng = random.Random(f"{SEED} {path.name}")
    print(f"CDC_ORDER_SEED={SEED}")
    with one.workspace("forward").project() as project:
        ends = recorded.forward(project)
        assert one.assert_truth(ends, project.conninfo("warehouse")) > 0
        for name, order in recorded.ORDERS.items():
            there = one.workspace(name)
            with there.project() as another:
                order(another, ends, rng)
            one.assert_truth(ends, there.conninfo)
    load_killed(one, rng)
