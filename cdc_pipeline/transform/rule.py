"""One rule for single columns: what `match` speaks of, and what happens there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cdc_pipeline.transform.classify import MaskingStrategy, match_field
from cdc_pipeline.transform.pattern import ColumnPattern


class Scope(StrEnum):
    """Where equal values get equal tokens: everywhere in the domain (joins), or within one row and column only."""

    VALUE = "value"
    ROW = "row"


class Normalise(StrEnum):
    """What is done to a text before it is masked; steps run in the order written."""

    TRIM = "trim"  # white space at both ends
    LOWER = "lower"
    NFC = "nfc"  # Unicode's composed form
    DIGITS = "digits"  # nothing but 0-9 stays: +49 (30) 1 and 49301 are one


@dataclass(frozen=True)
class Rule:
    """What happens to the columns that `pattern` matches; a pattern of four parts speaks of a field in a column."""

    pattern: ColumnPattern
    strategy: MaskingStrategy
    domain: str | None = None
    scope: Scope = Scope.VALUE
    normalise: tuple[Normalise, ...] = ()

    def domain_for(self, name: str) -> str:
        """The domain written in the rule, else what its `match` names, else (a bare `*`) what `name` says.

        `name` is the column's, or the field's for a rule of four parts. `user_email` gives `email`, so that the same
        e-mail joins across tables.
        """
        said = self.pattern.literal or name
        known = match_field(said)
        return self.domain or (known.domain if known else said.casefold())
