"""Which columns a rule speaks of: `keyspace.table.column`, each part a name, a glob or a quoted name."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field

_SEGMENT = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')
_WILDCARD = re.compile(r"\[[^\]]*\]|[*?]")


@dataclass(frozen=True)
class ColumnPattern:
    """A parsed `match`: three parts for a column, four for a map key or UDT field inside a column.

    A part without quotes is a glob (`*`, `?`, `[ab]`) and ignores case, as CQL does with unquoted names; a part in
    double quotes is one exact name (`""` stands for a quote), which may hold dots. `*` never crosses a dot.
    """

    text: str
    wildcards: int  # over all parts; fewer is more specific
    literal: str  # the column part (or field part) without wildcards, "" if nothing is left
    identity: tuple[str, ...] = field(repr=False)  # equal for two spellings of the same pattern
    _parts: tuple[re.Pattern[str], ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> ColumnPattern:
        """Parse `ks.table.column` or `ks.table.column.field`; ValueError says what was expected."""
        segments = _segments(text)
        if segments is None or len(segments) not in (3, 4):
            raise ValueError(f"expected keyspace.table.column or keyspace.table.column.field, found {text!r}")
        name, quoted = segments[-1]
        return cls(
            text=text,
            wildcards=sum(len(_WILDCARD.findall(name)) for name, quoted in segments if not quoted),
            literal=name if quoted else _WILDCARD.sub(" ", name).strip("_- ").casefold(),
            identity=tuple(f'"{name}' if quoted else name.casefold() for name, quoted in segments),
            _parts=tuple(_compiled(name, quoted) for name, quoted in segments),
        )

    @property
    def names_field(self) -> bool:
        """Whether this speaks of a map key or UDT field inside a column."""
        return len(self._parts) == 4

    def matches(self, *names: str) -> bool:
        """Whether it speaks of `(keyspace, table, column)` or `(keyspace, table, column, field)`."""
        if len(names) != len(self._parts):
            return False
        return all(part.fullmatch(name) for part, name in zip(self._parts, names, strict=True))

    def names_part_of(self, keyspace: str, table: str, column: str) -> bool:
        """Whether it speaks of a part of this column."""
        names = (keyspace, table, column)
        return self.names_field and all(p.fullmatch(name) for p, name in zip(self._parts, names, strict=False))


def _segments(text: str) -> list[tuple[str, bool]] | None:
    """The parts as (name, quoted), or None when quotes or dots do not add up."""
    segments, at = [], 0
    while segment := _SEGMENT.match(text, at):
        quoted = segment[1] is not None
        segments.append((segment[1].replace('""', '"') if quoted else segment[2].strip(), quoted))
        at = segment.end()
        if at == len(text):
            return segments if all(name for name, _ in segments) else None
        if text[at] != ".":
            return None
        at += 1
    return None


def _compiled(name: str, quoted: bool) -> re.Pattern[str]:
    return re.compile(re.escape(name)) if quoted else re.compile(fnmatch.translate(name), re.IGNORECASE)
