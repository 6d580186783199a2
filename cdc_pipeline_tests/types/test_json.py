from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import CqlType, CustomType, Form, ListType, Scalar, TupleType, UserType, to_json
from cdc_pipeline_tests.types.values import COMPOSITE, INT, LEXICAL_UUID, SCALARS, TEXT, present, types

_PLAIN_PROBLEM = re.compile(r"([a-z]+: expected [a-z0-9 ]+, found [a-z0-9 ]+)?")
EMPTY_TYPE = CustomType("org.apache.cassandra.db.marshal.EmptyType")


@pytest.mark.parametrize("cql_type", [*SCALARS, ListType(INT), TupleType((INT,)), COMPOSITE, LEXICAL_UUID, EMPTY_TYPE])
def test_no_bytes(cql_type: CqlType) -> None:
    """Zero bytes are an empty string for Cassandra, null for a destination unless text, ascii or blob."""
    assert to_json(cql_type)(b"") == '""'
    texts = {Scalar("text"), Scalar("ascii"), Scalar("blob")}
    assert to_json(cql_type, "destination")(b"") == ('""' if cql_type in texts else "null")


@pytest.mark.parametrize("form", ["cassandra", "destination"])
def test_counters(form: Form) -> None:
    """A counter is null whatever its bytes."""
    assert to_json(Scalar("counter"), form)(b"") == to_json(Scalar("counter"), form)(b"\x00\x01") == "null"


def test_compiled_once() -> None:
    """Equal types share one function, forms do not."""
    assert to_json(ListType(INT)) is to_json(ListType(Scalar("int")))
    assert to_json(ListType(INT)) is not to_json(ListType(INT), "destination")


@given(st.data())
def test_json_parsers_read_it(data: st.DataObject) -> None:
    """Any value of any type is one JSON value in both forms."""
    cql_type = data.draw(types())
    value = data.draw(present(cql_type))
    for form in ("cassandra", "destination"):
        json.loads(to_json(cql_type, form)(value))


@given(st.sampled_from([scalar for scalar in SCALARS if scalar not in (TEXT, Scalar("ascii"))]), st.binary(max_size=20))
def test_errors_hold_no_value(cql_type: Scalar, value: bytes) -> None:
    """Whatever the bytes, they print or give a ValueError of plain words and lengths."""
    assert _PLAIN_PROBLEM.fullmatch(_problem(cql_type, value))


def _problem(cql_type: Scalar, value: bytes) -> str:
    try:
        to_json(cql_type)(value)
    except ValueError as problem:
        return str(problem)
    return ""


def test_empty_type_never_has_bytes() -> None:
    """EmptyType refuses bytes."""
    with pytest.raises(ValueError, match=r"^EmptyType: expected 0 bytes, found 1$"):
        to_json(EMPTY_TYPE)(b"\x00")


def test_unknown_types() -> None:
    """What is no type has no printer."""
    with pytest.raises(TypeError, match="nosuch is no scalar type"):
        to_json(Scalar("nosuch"))
    with pytest.raises(TypeError, match="CqlType is no CQL type"):
        to_json(CqlType())
    with pytest.raises(NotImplementedError):
        _ = CqlType().cql


def test_multi_cell_prints_like_a_single_value() -> None:
    """A multi-cell type prints the serialized whole, as `SELECT JSON` puts it together."""
    user = UserType("ks", "u", ("a",), (INT,), multi_cell=True)
    assert to_json(user)(b"\xff\xff\xff\xff") == '{"a": null}'
