"""How a type's JSON printers are held: one `Printer` per type and form, registered by the module of its family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

#: `cassandra`: letter by letter what `toJSONString` gives; `destination`: the same without its losses
Form = Literal["cassandra", "destination"]


class RefusedByCassandra(Exception):
    """Cassandra's `toJSONString` throws here, so the whole value is `null`."""


class Printer(NamedTuple):
    """The JSON texts of one type in one form.

    `present` prints one byte or more; `nested_empty` is a zero-byte value inside another value (None where Cassandra
    refuses), `whole_empty` a zero-byte value that is a cell or key of its own.
    """

    present: Callable[[bytes], str]
    nested_empty: str | None = '""'
    whole_empty: str = '""'


_PRINTERS: dict[tuple[str, Form], Printer] = {}


def register(*names: str, cassandra: Printer, destination: Callable[[bytes], str] | Printer | None = None) -> None:
    """Make `names` (scalars or short Java class names) known.

    A destination that is a function prints zero bytes as `null`, the default prints present bytes as Cassandra does.
    """
    if not isinstance(destination, Printer):
        destination = Printer(destination or cassandra.present, nested_empty="null", whole_empty="null")
    for name in names:
        _PRINTERS[name, "cassandra"] = cassandra
        _PRINTERS[name, "destination"] = destination


def registered(name: str, form: Form) -> Printer | None:
    """The printer of a scalar or of a Java class, None for one that no family knows."""
    return _PRINTERS.get((name, form))
