"""What a CQL type is: one frozen dataclass per kind, equal and hashable by content.

`cql` is the text that `system_schema.columns` shows, `multi_cell` tells whether every element is a cell of its own,
`fixed_length` is the number of bytes when a value is written bare, without a length before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: bytes of the scalars that are written bare; tinyint, smallint, date, time and counter carry a length all the same
#: (`AbstractType.valueLengthIfFixed`)
_FIXED_SCALARS = {
    "boolean": 1,
    "int": 4,
    "float": 4,
    "bigint": 8,
    "double": 8,
    "timestamp": 8,
    "uuid": 16,
    "timeuuid": 16,
}
_FIXED_CUSTOM = {"LexicalUUIDType": 16, "DateType": 8, "EmptyType": 0}

SCALAR_NAMES = frozenset(
    {"ascii", "text", "blob", "boolean", "tinyint", "smallint", "int", "bigint", "varint", "decimal", "float", "double"}
    | {"timestamp", "date", "time", "duration", "uuid", "timeuuid", "inet", "counter"}
)

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class CqlType:
    """What all types answer; a single value of no fixed length unless the type says otherwise."""

    __slots__ = ()

    @property
    def cql(self) -> str:
        """The type as CQL writes it, `frozen<…>` included."""
        raise NotImplementedError

    @property
    def multi_cell(self) -> bool:
        """Whether a column of this type holds one cell per element or field."""
        return False

    @property
    def fixed_length(self) -> int | None:
        """Bytes of a value that is written bare, else None."""
        return None


@dataclass(frozen=True, slots=True)
class Scalar(CqlType):
    """A native type; `name` is one of SCALAR_NAMES (varchar is text)."""

    name: str

    @property
    def cql(self) -> str:
        """The name itself."""
        return self.name

    @property
    def fixed_length(self) -> int | None:
        """Bytes of a value that is written bare, else None."""
        return _FIXED_SCALARS.get(self.name)


@dataclass(frozen=True, slots=True)
class ListType(CqlType):
    """`list<element>`."""

    element: CqlType
    multi_cell: bool = field(default=False)

    @property
    def cql(self) -> str:
        """`list<…>`, in `frozen<…>` when it is a single value."""
        return _frozen_unless(self.multi_cell, f"list<{self.element.cql}>")


@dataclass(frozen=True, slots=True)
class SetType(CqlType):
    """`set<element>`."""

    element: CqlType
    multi_cell: bool = field(default=False)

    @property
    def cql(self) -> str:
        """`set<…>`, in `frozen<…>` when it is a single value."""
        return _frozen_unless(self.multi_cell, f"set<{self.element.cql}>")


@dataclass(frozen=True, slots=True)
class MapType(CqlType):
    """`map<key, value>`."""

    key: CqlType
    value: CqlType
    multi_cell: bool = field(default=False)

    @property
    def cql(self) -> str:
        """`map<…>`, in `frozen<…>` when it is a single value."""
        return _frozen_unless(self.multi_cell, f"map<{self.key.cql}, {self.value.cql}>")


@dataclass(frozen=True, slots=True)
class TupleType(CqlType):
    """`tuple<…>`, always a single value."""

    elements: tuple[CqlType, ...]

    @property
    def cql(self) -> str:
        """`frozen<tuple<…>>`."""
        return _frozen_unless(False, f"tuple<{', '.join(element.cql for element in self.elements)}>")


@dataclass(frozen=True, slots=True)
class UserType(CqlType):
    """A user-defined type with its fields in order; names as in the schema, without quotes."""

    keyspace: str
    name: str
    field_names: tuple[str, ...]
    field_types: tuple[CqlType, ...]
    multi_cell: bool = field(default=False)

    @property
    def cql(self) -> str:
        """The name, quoted where CQL needs it, in `frozen<…>` when it is a single value."""
        plain = _PLAIN_NAME.match(self.name) and self.name not in SCALAR_NAMES
        quoted = self.name.replace('"', '""')
        return _frozen_unless(self.multi_cell, self.name if plain else f'"{quoted}"')


@dataclass(frozen=True, slots=True)
class VectorType(CqlType):
    """`vector<element, dimension>` (Cassandra 5.0 and later)."""

    element: CqlType
    dimension: int

    @property
    def cql(self) -> str:
        """`vector<element, dimension>`; never in `frozen<…>`."""
        return f"vector<{self.element.cql}, {self.dimension}>"

    @property
    def fixed_length(self) -> int | None:
        """All elements back to back when they are of fixed length, else None."""
        element = self.element.fixed_length
        return None if element is None else element * self.dimension


@dataclass(frozen=True, slots=True)
class CustomType(CqlType):
    """A type that has only a Java class, such as `org.apache.cassandra.db.marshal.LexicalUUIDType`."""

    class_name: str

    @property
    def cql(self) -> str:
        """The class in single quotes."""
        return f"'{self.class_name}'"

    @property
    def short_name(self) -> str:
        """The class without package and parameters."""
        return self.class_name.partition("(")[0].rpartition(".")[2]

    @property
    def fixed_length(self) -> int | None:
        """Bytes of a value that is written bare, else None."""
        return _FIXED_CUSTOM.get(self.short_name)


def inside(cql_type: CqlType) -> Iterator[CqlType]:
    """The type, and all that it has inside."""
    yield cql_type
    single = [getattr(cql_type, name, None) for name in ("element", "key", "value")]
    several = [part for name in ("elements", "field_types") for part in getattr(cql_type, name, ())]
    for part in (*single, *several):
        if isinstance(part, CqlType):
            yield from inside(part)


def holds(cql_type: CqlType, *names: str) -> bool:
    """Whether a type is, or has inside, one of the scalars named."""
    return any(isinstance(one, Scalar) and one.name in names for one in inside(cql_type))


def _frozen_unless(multi_cell: bool, text: str) -> str:
    return text if multi_cell else f"frozen<{text}>"
