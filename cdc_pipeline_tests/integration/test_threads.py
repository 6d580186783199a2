"""A lane's connection is one thread's: what prepares the next micro-batch in another asks the server nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline_tests.integration.recorded import Recorded, runners
from cdc_pipeline_tests.integration.stores import PostgresStore
from cdc_pipeline_tests.recordings import Recording

ASKS = ("prepare", "claim", "state", "segments", "apply", "load", "refusal")
"""What of a sink needs its connection."""


@pytest.mark.parametrize("name", ["counters-5.0", "crash-5.0"])
def test_the_server_is_asked_by_one_thread(
    open_recording: Callable[[str], Recording],
    make_pg_database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Counters are known by the segments that the lane has read, which its server knows."""
    there, _ = Recorded(open_recording(name), tmp_path, lambda: PostgresStore(make_pg_database())).workspace("forward")
    asked: dict[str, set[threading.Thread]] = {}
    with there.project() as project:
        for runner in runners(project):
            for ask in ASKS:
                whole = getattr(runner.sink, ask)

                def noted(*given: Any, whole: Any = whole, ask: str = ask, **named: Any) -> Any:
                    asked.setdefault(ask, set()).add(threading.current_thread())
                    return whole(*given, **named)

                monkeypatch.setattr(runner.sink, ask, noted)
            runner.open("test")
            runner.drain()
    assert asked.keys() >= {"prepare", "claim", "state", "segments", "apply"}
    assert set().union(*asked.values()) == {threading.current_thread()}
