"""What was decided about one column, and why: frozen, hashable, without a value or a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from cdc_pipeline.transform.classify import MaskingStrategy
from cdc_pipeline.transform.rule import Normalise, Scope

Kind = Literal["partition_key", "clustering", "static", "regular"]
Source = Literal["rule", "phi_fields", "pii_fields", "unclassified"]

# a type made of these words alone holds no text; anything else (text, a UDT, a custom type) may
_TEXTLESS = (
    "bigint blob boolean counter date decimal double duration float inet int smallint time timestamp timeuuid tinyint "
    "uuid varint frozen list map set tuple vector"
)


class Unclassified(StrEnum):
    """What happens to a column that no rule and no list names."""

    ALLOW = "allow"  # loaded in the clear
    REVIEW = "review"  # loaded too; the report lists it and a check turns yellow
    DENY = "deny"  # not loaded until a rule names it


@dataclass(frozen=True)
class Decision:
    """A column (`column` is `name.field` for a field inside one) and what happens to it."""

    keyspace: str
    table: str
    column: str
    cql_type: str
    strategy: MaskingStrategy
    rule: str  # the `match` of a rule, the field of a list, "" if unclassified
    domain: str  # "" if unclassified
    source: Source
    scope: Scope = Scope.VALUE
    normalise: tuple[Normalise, ...] = ()
    unclassified: Unclassified | None = None  # set only when `source` is "unclassified"

    @property
    def name(self) -> str:
        """`keyspace.table.column`."""
        return f"{self.keyspace}.{self.table}.{self.column}"

    @property
    def masked(self) -> bool:
        """Whether the column leaves as text made by a mask."""
        return self.strategy is not MaskingStrategy.NONE

    @property
    def excluded(self) -> bool:
        """Whether the column is not loaded at all."""
        return self.unclassified is Unclassified.DENY

    @property
    def unclassified_text(self) -> bool:
        """Whether nobody classified a column that may hold text."""
        return self.unclassified is not None and holds_text(self.cql_type)

    @property
    def needs_review(self) -> bool:
        """Whether this turns a check yellow."""
        return self.unclassified is Unclassified.REVIEW and self.unclassified_text


def holds_text(cql_type: str) -> bool:
    """Whether a CQL type may hold text, inside a collection too; a UDT or custom type may."""
    words = re.findall(r"\"[^\"]*\"|'[^']*'|[^\s<>,]+", cql_type)
    textless = _TEXTLESS.split()
    return any(word.lower() not in textless and not word.isdigit() for word in words)
