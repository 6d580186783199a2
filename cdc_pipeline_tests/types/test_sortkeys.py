from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import Scalar, sort_key
from cdc_pipeline.types.sortkeys import CUSTOM_KEYS, SCALAR_KEYS, UNBOUNDED, decimal_key, integer_key
from cdc_pipeline_tests.types.values import decimal_bytes, present, varint_bytes

BIG = st.sampled_from([1, 126, 127, 128, 300]).map(lambda length: 1 << 8 * length)


@given(st.integers() | st.integers(-600, 600) | BIG, st.integers() | st.integers(-600, 600) | BIG)
def test_integers(left: int, right: int) -> None:
    """Integers of any size sort by number, below 0 too."""
    for a, b in ((left, right), (-left, -right), (-left, right)):
        assert (integer_key(a) < integer_key(b)) == (a < b)
        assert not integer_key(b).startswith(integer_key(a)) or a == b


@pytest.mark.parametrize(
    ("left", "right"),
    [((10, 1), (100, 2)), ((1, 0), (1000, 3)), ((0, 5), (0, -5)), ((-50, 1), (-5, 0)), ((1, -3), (1000, 0))],
)
def test_equal_decimals(left: tuple[int, int], right: tuple[int, int]) -> None:
    """Decimals of the same number have the same key whatever their scale."""
    assert decimal_key(decimal_bytes(*left)) == decimal_key(decimal_bytes(*right))


def test_padded_varints() -> None:
    """A varint of more bytes than it needs sorts by its number."""
    assert sort_key(Scalar("varint"))(b"\x00\x00\x05") == sort_key(Scalar("varint"))(varint_bytes(5))


def test_decimals_of_extreme_scale() -> None:
    """The exponent decides first, at the limits of the scale as well."""
    ordered = [(-1, -(2**31)), (-1, 2**31 - 1), (0, 0), (1, 2**31 - 1), (9, 1), (1, 0), (1, -(2**31))]
    keys = [decimal_key(decimal_bytes(*number)) for number in ordered]
    assert keys == sorted(keys)


@given(st.data())
def test_prefix_free(data: st.DataObject) -> None:
    """No key of a bounded scalar begins another one."""
    name = data.draw(st.sampled_from(sorted(set(SCALAR_KEYS) - UNBOUNDED)))
    encode = SCALAR_KEYS[name]
    one, other = (encode(data.draw(present(Scalar(name)))) for _ in range(2))
    assert one == other or not other.startswith(one)


@pytest.mark.parametrize("name", sorted((set(SCALAR_KEYS) - UNBOUNDED - {"varint", "decimal"}) | set(CUSTOM_KEYS)))
def test_malformed(name: str) -> None:
    """A wrong length is told by type, expected and found."""
    with pytest.raises(ValueError, match=f"^{name}: expected [0-9]+ bytes, found 3$"):
        {**SCALAR_KEYS, **CUSTOM_KEYS}[name](bytes(3))
