"""Whole columns are encoded as their values are, one by one; what needs a look of its own is left to that."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.load.postgres.types.mapping import PROFILES, ScalarType
from cdc_pipeline.types import Scalar
from cdc_pipeline_tests.types.values import anything

KINDS = {
    f"{profile} {name}": (Scalar(name), kind)
    for profile, types in PROFILES.items()
    for name, kind in types.items()
    if kind.at_once is not None and name != "counter"
}


def one_by_one(kind: ScalarType, values: list[bytes | None]) -> list[bytes | None] | None:
    """The fields; None when some value has none, or is an empty one that is NULL."""
    found: list[bytes | None] = []
    for value in values:
        if value is not None and not value and not kind.holds_empty:
            return None
        try:
            found.append(None if value is None else kind.encode(value))
        except ValueError:
            return None
    return found


def test_the_usual_types_are_here() -> None:
    """What tables mostly hold is encoded at once."""
    names = {name.split()[1] for name in KINDS}
    assert {"text", "int", "bigint", "timestamp", "date", "boolean", "double", "uuid", "blob", "tinyint"} <= names


@pytest.mark.parametrize(("cql_type", "kind"), KINDS.values(), ids=KINDS)
@given(data=st.data())
@settings(deadline=None)
def test_as_one_by_one(cql_type: Scalar, kind: ScalarType, data: st.DataObject) -> None:
    """Values of the type and others, nulls among them, in arrays that begin anywhere."""
    value = st.none() | anything(cql_type) | st.binary(max_size=9)
    held = data.draw(st.lists(value, max_size=6) | st.lists(st.none() | anything(cql_type), max_size=6))
    skipped = data.draw(st.integers(0, 9))
    array = pa.array([b"?", None] * skipped + held, pa.binary()).slice(2 * skipped)
    assert kind.at_once is not None
    found, expected = kind.at_once(array), one_by_one(kind, held)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.to_pylist() == expected


END = 9_224_318_016_000_000
EDGES = {
    "timestamp": [-(2**63), 2**63 - 1, -210_866_803_200_000, -210_866_803_200_001, END - 1, END],
    "date": [0, 2**32 - 1, 2**31 - 2_440_588, 2**31 - 2_440_589, 2**31 + 2_145_042_905, 2**31 + 2_145_042_906],
    "time": [-1, 0, 999, 1000, 86_400_000_000_000, 86_400_000_001_000],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, numbers in EDGES.items() for number in numbers], ids=str
)
def test_at_the_limits(name: str, number: int) -> None:
    """The last value that fits and the first that does not are told apart as one by one."""
    kind = PROFILES["native"][name]
    raw = number.to_bytes(4, "big") if name == "date" else number.to_bytes(8, "big", signed=True)
    assert kind.at_once is not None
    found, expected = kind.at_once(pa.array([raw], pa.binary())), one_by_one(kind, [raw])
    assert (None if found is None else found.to_pylist()) == expected
