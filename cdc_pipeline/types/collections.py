"""Lists, sets, maps, tuples, user types and vectors, out of the printers of what they hold.

Where Cassandra's `toJSONString` throws, the `cassandra` form raises RefusedByCassandra and the `destination` form
prints `null` for the one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from cdc_pipeline.types.registry import Form, Printer, RefusedByCassandra
from cdc_pipeline.types.strings import json_string, map_key_json
from cdc_pipeline.types.wire import Splitter


def sequence_printer(split: Splitter, element: Printer, form: Form) -> Printer:
    """List, set and vector: `[a, b]` in stored order."""

    def present(value: bytes) -> str:
        return f"[{', '.join(_texts(split(value), element, form))}]"

    return _composed(present, form)


def map_printer(split: Splitter, key: Printer, value: Printer, form: Form) -> Printer:
    """Map: `{"k": v}` in stored order."""

    def present(serialized: bytes) -> str:
        items = split(serialized)
        keys, values = _texts(items[::2], key, form), _texts(items[1::2], value, form)
        entries = [f"{map_key_json(name)}: {text}" for name, text in zip(keys, values, strict=True)]
        return f"{{{', '.join(entries)}}}"

    return _composed(present, form)


def tuple_printer(split: Splitter, elements: Sequence[Printer], form: Form) -> Printer:
    """Tuple: `[a, null, b]`; one with fewer elements than its type is refused, or filled up with `null`."""

    def present(value: bytes) -> str:
        items = split(value)
        missing = len(elements) - len(items)
        if missing and form == "cassandra":
            raise RefusedByCassandra
        texts = [_nullable(item, element) for item, element in zip(items, elements, strict=False)]
        return f"[{', '.join(texts + ['null'] * missing)}]"

    return _composed(present, form)


def user_type_printer(split: Splitter, names: Sequence[str], fields: Sequence[Printer], form: Form) -> Printer:
    """User type: `{"field": v}`, all fields in order, `null` when missing."""
    labels = [f"{field_label(name)}: " for name in names]

    def present(value: bytes) -> str:
        items = split(value)
        items.extend([None] * (len(fields) - len(items)))
        texts = [label + _nullable(item, field) for label, item, field in zip(labels, items, fields, strict=True)]
        return f"{{{', '.join(texts)}}}"

    nested_empty = present(b"") if form == "cassandra" else "null"  # zero bytes are zero fields
    return _composed(present, form)._replace(nested_empty=nested_empty)


def opaque_printer(form: Form) -> Printer:
    """Custom types that are not understood: refused, or their bytes like a blob's."""

    def refused(value: bytes) -> str:
        raise RefusedByCassandra

    def hexadecimal(value: bytes) -> str:
        return f'"0x{value.hex()}"'

    return _composed(refused if form == "cassandra" else hexadecimal, form)


def _composed(present: Callable[[bytes], str], form: Form) -> Printer:
    if form == "cassandra":
        return Printer(present, nested_empty=None)
    return Printer(present, nested_empty="null", whole_empty="null")


def _texts(items: list[bytes | None], printer: Printer, form: Form) -> Iterable[str]:
    """The items' texts; a null among them is refused, or printed as `null`."""
    if all(items):
        return map(printer.present, items)  # type: ignore[arg-type]  # all() has seen that none is None
    if form == "cassandra" and None in items:
        raise RefusedByCassandra
    return [_nullable(item, printer) for item in items]


def _nullable(item: bytes | None, printer: Printer) -> str:
    if item:
        return printer.present(item)
    if item is None:
        return "null"
    if printer.nested_empty is None:
        raise RefusedByCassandra
    return printer.nested_empty


def field_label(name: str) -> str:
    """A field's name as JSON; one with upper-case letters is quoted once more (`UserType.toJSONString`)."""
    return json_string(name if name == name.lower() else f'"{name}"')
