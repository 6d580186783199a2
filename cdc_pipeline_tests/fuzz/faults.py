"""Single fields broken while a segment is written: the encoder writes on, and its CRCs cover what it wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest
from hypothesis import strategies as st

from cdc_pipeline_tests.decode import encoder as en

_NUMBERS = (
    0,
    1,
    2,
    63,
    64,
    127,
    128,
    2**14,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_MOST_FIELDS = 150


class Fault(NamedTuple):
    """What becomes of a field: another number, or fewer or more bytes."""

    number: Callable[[int], int] | None = None
    keep: int | None = None
    longest: bool = False

    def apply(self, value: int, write: Callable[[int], bytes]) -> bytes:
        """The bytes of the broken field."""
        drawn = value if self.number is None else self.number(value)
        if self.longest:
            return b"\xff" + en_number(drawn, 8)
        return write(drawn)[: self.keep]


en_number = en.number
"""The encoder's own, whatever is put into its place."""

FAULTS = st.one_of(
    st.sampled_from(_NUMBERS).map(lambda number: Fault(lambda _: number)),
    st.integers(-3, 3).map(lambda by: Fault(lambda value: max(0, value + by))),
    st.sampled_from(_NUMBERS).map(lambda number: Fault(lambda _: number, longest=True)),
    st.integers(0, 1).map(lambda keep: Fault(keep=keep)),
    st.just(Fault(longest=True)),
)

PLANS: st.SearchStrategy[Mapping[int, Fault]] = st.dictionaries(st.integers(0, _MOST_FIELDS), FAULTS, max_size=3)
"""Which of the fields, in the order of writing, are broken and how."""


@contextlib.contextmanager
def broken(plan: Mapping[int, Fault]) -> Iterator[None]:
    """Breaks the lengths, counts, differences and CRCs of a plan, in whatever the encoder writes meanwhile."""
    vint, number = en.vint, en.number
    written = iter(range(2**62))

    def any_vint(value: int) -> bytes:
        fault = plan.get(next(written))
        return vint(value) if fault is None else fault.apply(value, vint)

    def any_number(value: int, size: int) -> bytes:
        fault = plan.get(next(written))
        return number(value, size) if fault is None else fault.apply(value, lambda drawn: number(drawn, size))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(en, "vint", any_vint)
        patch.setattr(en, "number", any_number)
        yield
