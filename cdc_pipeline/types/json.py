"""From a type to a function that prints its values as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from cdc_pipeline.types import floats, identifiers, numbers, strings, temporal  # noqa: F401  # they register
from cdc_pipeline.types.collections import (
    map_printer,
    opaque_printer,
    sequence_printer,
    tuple_printer,
    user_type_printer,
)
from cdc_pipeline.types.model import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Scalar,
    SetType,
    TupleType,
    UserType,
    VectorType,
)
from cdc_pipeline.types.registry import Form, Printer, RefusedByCassandra, registered
from cdc_pipeline.types.wire import splitter


def to_json(cql_type: CqlType, form: Form = "cassandra") -> Callable[[bytes], str]:
    """A function from a value's serialized bytes to its JSON text; compiled once per type and form.

    `cassandra` is letter by letter what Cassandra's `toJSONString` gives: `null` for the whole value where it throws,
    `""` for zero bytes. `destination` loses nothing: NaN and infinities are strings, years are astronomical, a
    duration's minima are printed, zero bytes of other than text, ascii and blob are `null`, a null element is `null`,
    a short tuple is filled up and a custom type is hex. A counter is `null` in both.
    The function raises ValueError, without the value, for bytes that are none of the type's.
    """
    return _compiled(cql_type, form)


def part_json(cql_type: CqlType) -> Callable[[bytes], str]:
    """The `destination` form of a value inside another: there an empty blob is `0x`, as Cassandra prints it."""
    render = to_json(cql_type, "destination")
    if cql_type == Scalar("blob"):
        return lambda raw: render(raw) if raw else '"0x"'
    return render


@cache
def _compiled(cql_type: CqlType, form: Form) -> Callable[[bytes], str]:
    present, _, whole_empty = _printer(cql_type, form)

    def whole(value: bytes) -> str:
        if not value:
            return whole_empty
        try:
            return present(value)
        except RefusedByCassandra:
            return "null"

    return whole


@cache
def _printer(cql_type: CqlType, form: Form) -> Printer:
    match cql_type:
        case Scalar(name):
            return _required(name, form)
        case ListType(element) | SetType(element) | VectorType(element):
            return sequence_printer(splitter(cql_type), _printer(element, form), form)
        case MapType(key, value):
            return map_printer(splitter(cql_type), _printer(key, form), _printer(value, form), form)
        case TupleType(elements):
            return tuple_printer(splitter(cql_type), [_printer(element, form) for element in elements], form)
        case UserType():
            fields = [_printer(field, form) for field in cql_type.field_types]
            return user_type_printer(splitter(cql_type), cql_type.field_names, fields, form)
        case CustomType():
            return registered(cql_type.short_name, form) or opaque_printer(form)
    raise TypeError(f"{type(cql_type).__name__} is no CQL type")


def _required(name: str, form: Form) -> Printer:
    printer = registered(name, form)
    if printer is None:
        raise TypeError(f"{name} is no scalar type")
    return printer
