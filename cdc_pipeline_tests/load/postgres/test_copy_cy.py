"""Rows of binary COPY: the compiled and the interpreted form write the same bytes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import struct
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.load.postgres import COMPILED, copy_cy


def interpreted_form() -> ModuleType:
    """The source, run by Python."""
    loader = importlib.machinery.SourceFileLoader(
        "copy_interpreted", copy_cy.__file__.rpartition("/")[0] + "/copy_cy.py"
    )
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


INTERPRETED = interpreted_form()


def column(values: list[bytes | None]) -> tuple[bytes, Any, Any]:
    """Data, offsets and marks of a column."""
    ends = np.cumsum([0, *(len(value or b"") for value in values)]).astype(np.int32)
    valid = np.array([value is not None for value in values], np.uint8)
    return b"".join(value or b"" for value in values), ends, None if all(valid) else valid


def expected(rows: list[list[bytes | None]]) -> bytes:
    """The rule of PostgreSQL's manual, a field at a time."""
    out = b""
    for row in rows:
        out += struct.pack(">h", len(row))
        for value in row:
            out += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return out


def tables() -> st.SearchStrategy[list[list[bytes | None]]]:
    """Rows of one to four fields, some of them null or empty."""
    field = st.none() | st.binary(max_size=5) | st.just(b"\xff" * 300)
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(field, min_size=width, max_size=width), max_size=6)
    )


def test_both_forms_are_here() -> None:
    """The one under the pipeline is compiled, the other is not."""
    assert COMPILED is True
    assert INTERPRETED.COMPILED is False


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@given(rows=tables())
def test_rows(module: ModuleType, rows: list[list[bytes | None]]) -> None:
    """A count of fields, then length and bytes of each; length -1 is NULL."""
    columns = [column([row[at] for row in rows]) for at in range(len(rows[0]))] if rows else []
    assert bytes(module.encode_rows(len(rows), columns)) == expected(rows)


BAD = {
    "too few offsets": (b"ab", np.array([0, 1], np.int32)),
    "beyond the data": (b"ab", np.array([0, 1, 3], np.int32)),
    "falling": (b"ab", np.array([0, 2, 1], np.int32)),
    "not from 0": (b"ab", np.array([1, 1, 2], np.int32)),
}


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@pytest.mark.parametrize(("data", "offsets"), BAD.values(), ids=BAD)
def test_offsets_that_do_not_fit(module: ModuleType, data: bytes, offsets: Any) -> None:
    """Offsets that would read outside of the data are refused."""
    with pytest.raises(ValueError, match="offsets that do not fit their data"):
        module.encode_rows(2, [(data, offsets, None)])
