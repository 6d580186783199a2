"""The rules of masking: two lists of field names and rules for single columns, built in or from a YAML file.

    pii_fields: [email, phone]          # replaces the built-in list; [] = none
    phi_fields: [diagnosis]             # likewise
    rules:                              # win over both lists
      - {match: "shop.users.login", strategy: PII_HASH, domain: email, normalise: [trim, lower]}
      - {match: "clinic.*.notes", strategy: PHI_TOKENIZE, scope: row}
      - {match: "shop.*.email_verified", strategy: NONE}

A file that is named and cannot be used is an error; it never falls back to the built-in rules.

Masks of one domain join only where `normalise` is the same: a column that lowers its e-mails does not join one that
keeps them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cdc_pipeline.transform.classify import PHI_FIELDS, PII_FIELDS, FieldMatch, match_field
from cdc_pipeline.transform.rule import Rule
from cdc_pipeline.transform.rules_file import read_rules


@dataclass(frozen=True)
class MaskingRules:
    """Immutable rules; `source` is where they come from, for messages."""

    pii_fields: tuple[str, ...] = PII_FIELDS
    phi_fields: tuple[str, ...] = PHI_FIELDS
    rules: tuple[Rule, ...] = ()
    source: str = "built-in rules"

    @classmethod
    def defaults(cls) -> MaskingRules:
        """The built-in lists and no rules for single columns."""
        return cls()

    @classmethod
    def load(cls, path: str | Path) -> MaskingRules:
        """Read a YAML file; ConfigurationError names file and key of anything that is not understood."""
        read = read_rules(Path(path))
        return cls(
            pii_fields=PII_FIELDS if read.pii_fields is None else read.pii_fields,
            phi_fields=PHI_FIELDS if read.phi_fields is None else read.phi_fields,
            rules=read.rules,
            source=str(path),
        )

    def rule_for(self, *names: str) -> Rule | None:
        """The rule for `(keyspace, table, column)` or `(…, field)`: fewest wildcards win, then the first written."""
        fitting = (rule for rule in self.rules if rule.pattern.matches(*names))
        return min(fitting, key=lambda rule: rule.pattern.wildcards, default=None)

    def match_field(self, column: str) -> FieldMatch | None:
        """What the two lists say about a column name, PHI first."""
        return match_field(column, self.pii_fields, self.phi_fields)
