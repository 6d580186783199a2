"""From the type texts of `system_schema` to `CqlType`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cdc_pipeline.errors import SchemaError
from cdc_pipeline.types.model import (
    SCALAR_NAMES,
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

#: name of a user type -> (field names, texts of the field types), as `system_schema.types` has them
UserTypes = Mapping[str, tuple[Sequence[str], Sequence[str]]]

_TOKEN = re.compile(r"""\s*(?:(?P<class>'[^']*')|(?P<quoted>"(?:[^"]|"")*")|(?P<word>\w+)|(?P<mark>[<>,]))\s*""")
_EMPTY_CLASS = "org.apache.cassandra.db.marshal.EmptyType"


def parse_type(text: str, keyspace: str, user_types: UserTypes) -> CqlType:
    """The type that `text` names, its user types looked up in `user_types` of `keyspace`.

    A collection or user type at the top is multi-cell unless in `frozen<…>`; whatever is nested is a single value.
    Raises SchemaError for a text that is no type and for a user type that is not there.
    """
    reader = _Reader(text, keyspace, user_types)
    parsed = reader.type()
    reader.finish()
    return parsed


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, keyspace: str, user_types: UserTypes) -> None:
        self._text = text
        self._keyspace = keyspace
        self._user_types = user_types
        self._tokens = self._tokenize()
        self._at = 0

    def type(self) -> CqlType:
        kind, token = self._next("a type")
        if kind == "class":
            return CustomType(token[1:-1])
        if kind == "quoted":
            return self._user_type(token[1:-1].replace('""', '"'))
        if kind == "mark":
            raise self._error(f"expected a type, found {token!r}")
        if self._peek() == "<":
            return self._parameterized(token.lower())
        return self._named(token.lower())

    def finish(self) -> None:
        if self._at != len(self._tokens):
            raise self._error(f"expected its end, found {self._peek()!r}")

    def _named(self, name: str) -> CqlType:
        if name == "varchar":
            return Scalar("text")
        if name == "empty":  # the hidden value column of dense compact tables
            return CustomType(_EMPTY_CLASS)
        return Scalar(name) if name in SCALAR_NAMES else self._user_type(name)

    def _parameterized(self, name: str) -> CqlType:
        self._expect("<")
        parsed = self._parameters(name)
        self._expect(">")
        return parsed

    def _parameters(self, name: str) -> CqlType:
        if name == "frozen":
            return _single(self.type())
        if name == "list":
            return ListType(self._nested(), multi_cell=True)
        if name == "set":
            return SetType(self._nested(), multi_cell=True)
        if name == "map":
            key = self._nested()
            self._expect(",")
            return MapType(key, self._nested(), multi_cell=True)
        if name == "tuple":
            return TupleType(self._several())
        if name == "vector":
            element = self._nested()
            self._expect(",")
            return VectorType(element, self._dimension())
        raise self._error(f"expected frozen, list, set, map, tuple or vector before '<', found {name!r}")

    def _several(self) -> tuple[CqlType, ...]:
        elements = [self._nested()]
        while self._peek() == ",":
            self._expect(",")
            elements.append(self._nested())
        return tuple(elements)

    def _nested(self) -> CqlType:
        return _single(self.type())

    def _dimension(self) -> int:
        _, token = self._next("a dimension")
        if not (token.isascii() and token.isdigit() and int(token) > 0):
            raise self._error(f"expected a positive dimension, found {token!r}")
        return int(token)

    def _user_type(self, name: str) -> UserType:
        if name not in self._user_types:
            raise self._error(f"user type {name!r} expected in keyspace {self._keyspace!r}, found in none of its types")
        names, texts = self._user_types[name]
        fields = tuple(_single(parse_type(text, self._keyspace, self._user_types)) for text in texts)
        return UserType(self._keyspace, name, tuple(names), fields, multi_cell=True)

    def _tokenize(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        offset = 0
        while offset < len(self._text):
            match = _TOKEN.match(self._text, offset)
            if match is None or match.lastgroup is None:
                raise self._error(f"expected a token at character {offset}, found {self._text[offset]!r}")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            offset = match.end()
        return tokens

    def _peek(self) -> str | None:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else None

    def _next(self, expected: str) -> tuple[str, str]:
        if self._at == len(self._tokens):
            raise self._error(f"expected {expected}, found its end")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, mark: str) -> None:
        _, token = self._next(repr(mark))
        if token != mark:
            raise self._error(f"expected {mark!r}, found {token!r}")

    def _error(self, problem: str) -> SchemaError:
        return SchemaError(f"type {self._text!r} of keyspace {self._keyspace!r}: {problem}")


def _single(parsed: CqlType) -> CqlType:
    """The same type as a single value, which everything inside another value is."""
    if isinstance(parsed, ListType | SetType | MapType | UserType):
        return replace(parsed, multi_cell=False)
    return parsed
