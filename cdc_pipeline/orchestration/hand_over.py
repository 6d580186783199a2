"""How the ops of a reload pass data on: inside the process, once, and nowhere else.

Dagster's default would pickle every output into a file. What is parsed must not be written unmasked, so nothing here
is; unlike `mem_io_manager`, which keeps all outputs until the run ends, this lets go of each when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg


class HandOver(dg.IOManager):
    """Each output is held until its one reader takes it; it is gone for a retry from the middle of a run."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, ...], Any] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Holds it."""
        self._held[_place(context.get_identifier())] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        """Gives it away."""
        upstream = context.upstream_output
        place = _place(upstream.get_identifier()) if upstream is not None else ()
        if place not in self._held:
            raise dg.Failure("what was parsed is kept in memory only: run the whole job again", allow_retries=False)
        return self._held.pop(place)


def _place(identifier: Sequence[str]) -> tuple[str, ...]:
    return tuple(identifier)


@dg.io_manager(description="In memory, each value read once; nothing is written to a file.")
def hand_over(_: dg.InitResourceContext) -> HandOver:
    """One per run: the ops run in one process."""
    return HandOver()
