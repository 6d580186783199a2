"""Rows of binary COPY: the compiled and the interpreted form write the same bytes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import struct
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_pipeline.load.postgres import COMPILED, copy_cy
from cdc_pipeline.load.postgres.copy_cy import HEADER, TRAILER
from cdc_pipeline.load.postgres.fields import BinaryField, Field, LongField


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


def column(values: list[bytes | None], data: st.DataObject) -> Field:
    """A field of these values: as they are, or picked from others, in an array that begins where it likes."""
    skipped = data.draw(st.integers(0, 9))
    if not data.draw(st.booleans()):
        return BinaryField(pa.array([b"?"] * skipped + values, pa.binary()).slice(skipped))
    held = data.draw(st.permutations([*values, b"unused"]))
    places = [-1 if value is None else held.index(value) for value in values]
    return BinaryField(pa.array([None] * skipped + held, pa.binary()).slice(skipped), np.array(places, np.int32))


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
@given(rows=tables(), data=st.data())
@settings(deadline=None)
def test_rows(module: ModuleType, rows: list[list[bytes | None]], data: st.DataObject) -> None:
    """A count of fields, then length and bytes of each; length -1 is NULL."""
    columns = [column([row[at] for row in rows], data) for at in range(len(rows[0]))] if rows else []
    assert bytes(module.encode_copy(len(rows), columns)) == HEADER + expected(rows) + TRAILER


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@given(
    numbers=st.lists(st.none() | st.integers(-(2**63) + 1, 2**63 - 1), max_size=6), null=st.sampled_from([0, -(2**63)])
)
@settings(deadline=None)
def test_numbers(module: ModuleType, numbers: list[int | None], null: int) -> None:
    """Eight bytes each; one number stands for NULL, as does a row without a place."""
    values = np.array([null if number is None else number for number in numbers], np.int64)
    fields = [None if value == null else struct.pack(">q", value) for value in values.tolist()]
    straight, turned = (
        LongField(values, null=null),
        LongField(values, np.arange(len(values), dtype=np.int32)[::-1].copy(), null),
    )
    nowhere = LongField(values, np.full(len(values), -1, np.int32))
    rows = [[a, b, None] for a, b in zip(fields, fields[::-1], strict=True)]
    assert bytes(module.encode_copy(len(values), [straight, turned, nowhere])) == HEADER + expected(rows) + TRAILER


TWO = pa.array([b"a", b"b"], pa.binary())
BAD: dict[str, Field] = {
    "too few values": BinaryField(TWO.slice(1)),
    "another type": BinaryField(pa.array(["a", "b"])),
    "too few places": BinaryField(TWO, np.zeros(1, np.int32)),
    "a place behind the values": BinaryField(TWO, np.array([0, 2], np.int32)),
    "a place before them": LongField(np.zeros(2, np.int64), np.array([0, -2], np.int32)),
    "places of another size": LongField(np.zeros(2, np.int64), np.zeros(2, np.int64)),  # type: ignore[arg-type]
    "numbers of another size": LongField(np.zeros(2, np.int32)),  # type: ignore[arg-type]
    "numbers with gaps": LongField(np.zeros(4, np.int64)[::2]),
}


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("field", BAD.values(), ids=BAD)
def test_fields_that_do_not_fit(module: ModuleType, field: Field) -> None:
    """Fields that would be read outside of their values are refused."""
    with pytest.raises(ValueError, match="expected a field of 2 rows"):
        module.encode_copy(2, [field])


@st.composite
def cells(draw: st.DrawFn) -> list[tuple[int, bytes, int, int, bytes | None, bytes | None]]:
    """Row, path, writetime, x, bytes and text of some cells."""
    raw = st.none() | st.binary(max_size=4)
    one = st.tuples(
        st.integers(0, 3), st.binary(max_size=2), st.integers(-5, 5), st.sampled_from([0, 1, 2**62]), raw, raw
    )
    return draw(st.lists(one, max_size=8))


def record(cell: tuple[int, bytes, int, int, bytes | None, bytes | None]) -> bytes:
    """`record_recv`: the number of attributes, then oid, length and bytes of each."""
    _, path, ts, x, value, text = cell
    out = struct.pack(">i", 5)
    attributes = [
        (17, path),
        (20, struct.pack(">q", ts)),
        (20, struct.pack(">q", x) if x else None),
        (17, value),
        (25, text),
    ]
    for oid, raw in attributes:
        out += struct.pack(">Ii", oid, -1 if raw is None else len(raw)) + (raw or b"")
    return struct.pack(">i", len(out)) + out


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@given(many=cells())
@settings(deadline=None)
def test_cells(module: ModuleType, many: list[tuple[int, bytes, int, int, bytes | None, bytes | None]]) -> None:
    """One array of records per row, in the order that is given."""
    order = sorted(range(len(many)), key=lambda cell: many[cell][:2])
    numbers = [np.array([cell[at] for cell in many], np.int64) for at in (0, 2, 3)]
    arrays = [pa.array([b"?"] + [cell[at] for cell in many], pa.binary()).slice(1) for at in (1, 4, 5)]
    data, ends = module.encode_cells(
        np.array(order, np.int64), numbers[0], arrays[0], numbers[1], numbers[2], arrays[1], arrays[2], 77_777
    )
    found = [bytes(data[first:last]) for first, last in itertools.pairwise(ends.tolist())]
    expected_fields = []
    for _, members in itertools.groupby(order, key=lambda cell: many[cell][0]):
        records = [record(many[cell]) for cell in members]
        expected_fields.append(struct.pack(">iiIii", 1, 0, 77_777, len(records), 1) + b"".join(records))
    assert found == expected_fields


@pytest.mark.parametrize("module", [copy_cy, INTERPRETED], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("order", [[1], [-1]], ids=["behind", "before"])
def test_cells_that_are_not_there(module: ModuleType, order: list[int]) -> None:
    """An order that names other cells than there are is refused."""
    one, raw = np.zeros(1, np.int64), pa.array([b"a"], pa.binary())
    with pytest.raises(ValueError, match="expected an order of the cells"):
        module.encode_cells(np.array(order, np.int64), one, raw, one, one, raw, raw, 1)
