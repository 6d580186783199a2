"""SIGKILL at any point of a run, and a start again: the same end state, every change counted once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from cdc_pipeline_tests.chaos.child import STEPS
from cdc_pipeline_tests.chaos.workload import LETTERS, Site, make_site
from cdc_pipeline_tests.integration.workspace import Workspace, rows

Kill = tuple[str, int]

TIMES = range(1, 4)
ONCE = {"before preparing", "tables prepared", "before the claim", "claimed, not committed", "lane open"}
MILLISECONDS = (20, 60, 100, 150, 200, 250)
SEED = int(os.environ.get("CDC_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
KILLS = int(os.environ.get("CDC_CHAOS_KILLS") or 1000)


def killed(workspace: Workspace, kills: Sequence[Kill]) -> list[int]:
    """Runs the lane once for each kill; gives how each run ended."""
    command = [sys.executable, "-m", "cdc_pipeline_tests.chaos.child", str(workspace.write()), json.dumps(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200)
    ended: list[int] = json.loads(done.stdout)
    assert [code for code in ended if code not in (0, -9)] == [], done.stderr
    return ended


def test_killed_at_every_step(site: Site, make_pg_database: Callable[[], str]) -> None:
    """Dozens of deaths, at each named step several times and at odd moments, end as if there had been none."""
    broken = site.workspace(make_pg_database())
    kills = [(step, number) for number in TIMES for step in STEPS if number == 1 or step not in ONCE]
    kills += [("milliseconds", ms) for ms in MILLISECONDS]
    ended = dict(zip(kills, killed(broken, kills), strict=True))
    assert [kill for kill, code in ended.items() if code == 0 and kill[0] in STEPS] == []
    assert sum(code == -9 for code in ended.values()) >= 40
    with broken.project() as project:
        site.assert_exact(project, broken.conninfo, make_pg_database)
    assert {tries for (tries,) in rows(broken.conninfo, "SELECT retry_count FROM cdc.dead_letters")} == {0}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_many_times(
    tmp_path_factory: pytest.TempPathFactory, make_pg_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`CDC_CHAOS_KILLS` (1000) deaths at steps drawn by `CDC_CHAOS_SEED`: each log that was loaded so is exact."""
    rng = random.Random(SEED)
    died: dict[str, int] = dict.fromkeys([*STEPS, "milliseconds"], 0)
    done = 0
    while done < KILLS:
        site = make_site(tmp_path_factory.mktemp("site"), count=rng.choice((420, 900)))
        broken = site.workspace(make_pg_database())
        kills = [_drawn(rng) for _ in range(150)]
        for (step, _), code in zip(kills, killed(broken, kills), strict=True):
            died[step] += code == -9
        with broken.project() as project:
            site.assert_exact(project, broken.conninfo, make_pg_database)
        assert {tries for (tries,) in rows(broken.conninfo, "SELECT retry_count FROM cdc.dead_letters")} <= {0}
        assert rows(broken.conninfo, LETTERS) != []
        done = sum(died.values())
    with capsys.disabled():
        print(f"\nCDC_CHAOS_SEED={SEED}: {done} kills: {died}")
    assert all(died.values())


def _drawn(rng: random.Random) -> Kill:
    if rng.random() < 0.15:
        return "milliseconds", rng.randint(5, 300)
    step = rng.choice(sorted(STEPS))
    return step, 1 if step in ONCE else rng.choice((1, 1, 1, 2))
