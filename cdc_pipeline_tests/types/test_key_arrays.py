"""Sort bytes and order of many rows: the compiled form and the rule of one row agree."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import CqlType, clustering_key, keys_cy
from cdc_pipeline.types.key_arrays import arranged, clustering_keys
from cdc_pipeline_tests.types.values import LEXICAL_UUID, SCALARS, anything, types


@pytest.fixture(params=["compiled", "interpreted"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms; the compiled one has to be there."""
    assert keys_cy.COMPILED is True
    if request.param == "interpreted":
        monkeypatch.setattr(keys_cy, "COMPILED", False)
    return str(request.param)


def agree(kinds: list[CqlType], down: list[bool], rows: list[list[bytes | None]]) -> None:
    """The keys of all rows are those of each, and rows of malformed values are marked."""
    columns = [pa.array([row[at] for row in rows], pa.binary()) for at in range(len(kinds))]
    padded = [pa.concat_arrays([pa.array([b"?", None], pa.binary()), column]).slice(2) for column in columns]
    encode = clustering_key(kinds, down)
    for given_columns in (columns, padded):
        keys, bad = clustering_keys(kinds, down, given_columns)
        for row, key, marked in zip(rows, keys.to_pylist(), bad.tolist(), strict=True):
            try:
                assert (encode(row), False) == (key, marked)
            except ValueError:
                assert (key, marked) == (b"", True)


@pytest.mark.parametrize("cql_type", [*SCALARS, LEXICAL_UUID], ids=lambda cql_type: cql_type.cql)
@pytest.mark.parametrize("down", [False, True], ids=["asc", "desc"])
@given(data=st.data())
def test_scalars(cql_type: CqlType, down: bool, data: st.DataObject) -> None:
    """One clustering column of each type, with null, empty and malformed values among the others."""
    values = data.draw(st.lists(st.none() | anything(cql_type) | st.binary(max_size=17), max_size=8))
    agree([cql_type], [down], [[value] for value in values])


@given(data=st.data())
def test_composed(data: st.DataObject) -> None:
    """Several columns of any types."""
    kinds = data.draw(st.lists(types(), min_size=1, max_size=3))
    row = st.tuples(*(st.none() | anything(kind) for kind in kinds)).map(list)
    down = data.draw(st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds)))
    agree(kinds, down, data.draw(st.lists(row, max_size=5)))


PART = st.binary(max_size=3) | st.sampled_from([b"a", b"ab", b"\xff", b"\x00", b""])


@pytest.mark.usefixtures("form")
def test_no_rows(form: str) -> None:
    """Nothing has no order."""
    empty = pa.array([], pa.binary())
    keys, bad = clustering_keys([SCALARS[0]], [False], [empty])
    assert (len(keys), len(bad)) == (0, 0)
    assert [len(found) for found in arranged([empty])] == [0, 0]


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
@given(rows=st.lists(st.tuples(PART, PART), max_size=40))
def test_order(compiled: bool, rows: list[tuple[bytes, bytes]]) -> None:
    """Rows come by their bytes, column by column; equal ones stay as they were, and only the first is new."""
    columns = [pa.array([row[at] for row in rows], pa.binary()) for at in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_cy, "COMPILED", compiled)
        order, new = arranged(columns)
    assert order.tolist() == sorted(range(len(rows)), key=rows.__getitem__)
    expected = [at == 0 or rows[order[at]] != rows[order[at - 1]] for at in range(len(rows))]
    assert new.tolist() == expected


def test_long_order() -> None:
    """Thousands of rows, in falling, rising and random order."""
    values = [number.to_bytes(4, "big") for number in range(5000)]
    shuffled = np.random.default_rng(1).permutation(5000)
    for rows in (values, values[::-1], [values[at] for at in shuffled]):
        order, new = arranged([pa.array(rows, pa.binary())])
        assert [rows[at] for at in order] == values
        assert new.all()
