"""The policy: rules, keys and the word about unclassified columns, asked once per column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.classify import MaskingStrategy
from cdc_pipeline.transform.decision import Decision, Kind, Unclassified
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masker import Masker
from cdc_pipeline.transform.rule import Rule, Scope
from cdc_pipeline.transform.rules import MaskingRules
from cdc_pipeline.transform.seal import seal_mutation


class MaskingPolicy:
    """Decides per column: a rule, else `phi_fields`, else `pii_fields`, else `unclassified`.

    Deciding needs no key; `masker` does, so a pipeline that masks nothing runs without a key ring.
    """

    def __init__(self, rules: MaskingRules, keyring: KeyRing | None, unclassified: str = "review") -> None:
        """ConfigurationError unless `unclassified` is allow, review or deny."""
        if unclassified not in tuple(Unclassified):
            message = f"expected {', '.join(Unclassified)}, found {unclassified!r}"
            raise ConfigurationError(message, key="masking.unclassified")
        self.rules = rules
        self.keyring = keyring
        self.unclassified = Unclassified(unclassified)

    def decide(self, keyspace: str, table: str, column: str, kind: Kind, cql_type: str) -> Decision:
        """The decision for a column.

        ConfigurationError for a key column with scope row (no two rows would share a key) or `normalise` (distinct
        keys would merge), and for one that nobody classified under `deny` (a table cannot do without its key).
        """
        open_ = self._unclassified(keyspace, table, column, cql_type)
        is_key = kind in ("partition_key", "clustering")
        if rule := self.rules.rule_for(keyspace, table, column):
            if is_key:
                self._refuse_on_key(rule, open_.name)
            return _by_rule(open_, rule, column)
        if match := self.rules.match_field(column):
            is_phi = match.strategy is MaskingStrategy.PHI_TOKENIZE
            return replace(
                open_,
                strategy=match.strategy,
                rule=match.field,
                domain=match.domain,
                source="phi_fields" if is_phi else "pii_fields",
                unclassified=None,
            )
        if is_key and open_.excluded:
            message = f"expected a rule for key column {open_.name}, because unclassified is deny"
            raise ConfigurationError(message, where=self.rules.source, key="rules")
        return open_

    def decide_field(
        self, keyspace: str, table: str, column: str, field: str, kind: Kind, cql_type: str
    ) -> Decision | None:
        """The decision for a map key or UDT field inside a column; None where no rule of four parts applies.

        Such rules apply only where the column itself is unclassified: a column that a rule or a list names is masked
        as a whole. `cql_type` is the field's. Under `deny` the column stays out all the same.
        """
        rule = self.rules.rule_for(keyspace, table, column, field)
        if rule is None or self.decide(keyspace, table, column, kind, cql_type).source != "unclassified":
            return None
        open_ = self._unclassified(keyspace, table, f"{column}.{field}", cql_type)
        if kind in ("partition_key", "clustering"):
            self._refuse_on_key(rule, open_.name)
        return _by_rule(open_, rule, field)

    def masker(self, decision: Decision) -> Masker | None:
        """The masker of a decision, None if it masks nothing; ConfigurationError if it masks and there is no key."""
        if not decision.masked:
            return None
        if self.keyring is None:
            message = f"expected a key ring, because {decision.name} is masked ({decision.strategy}); found none"
            raise ConfigurationError(message, key="masking.keys")
        return Masker(decision, self.keyring)

    def seal(self, raw: bytes) -> dict[str, Any]:
        """What may be kept of a mutation that nobody can read (`seal.py`)."""
        rules = self.rules
        masks = rules.pii_fields or rules.phi_fields or any(r.strategy is not MaskingStrategy.NONE for r in rules.rules)
        open_ = not masks and self.unclassified is not Unclassified.DENY
        return seal_mutation(raw, self.keyring, in_the_clear=open_)

    def idle_rules(self, columns: Iterable[tuple[str, str, str]]) -> list[str]:
        """The `match` of every three-part rule that fits none of the (keyspace, table, column): a typing error?"""
        seen = list(columns)
        patterns = (rule.pattern for rule in self.rules.rules if not rule.pattern.names_field)
        return [pattern.text for pattern in patterns if not any(pattern.matches(*names) for names in seen)]

    def _unclassified(self, keyspace: str, table: str, column: str, cql_type: str) -> Decision:
        return Decision(
            keyspace=keyspace,
            table=table,
            column=column,
            cql_type=cql_type,
            strategy=MaskingStrategy.NONE,
            rule="",
            domain="",
            source="unclassified",
            unclassified=self.unclassified,
        )

    def _refuse_on_key(self, rule: Rule, name: str) -> None:
        if rule.scope is Scope.ROW:
            message = f"expected scope value for key column {name}, found row: no two rows would share a key"
        elif rule.normalise:
            message = f"expected no normalise for key column {name}: distinct keys would merge"
        else:
            return
        raise ConfigurationError(message, where=self.rules.source, key=f"rules: {rule.pattern.text}")


def _by_rule(open_: Decision, rule: Rule, name: str) -> Decision:
    return replace(
        open_,
        strategy=rule.strategy,
        rule=rule.pattern.text,
        domain=rule.domain_for(name),
        source="rule",
        scope=rule.scope,
        normalise=rule.normalise,
        unclassified=None,
    )
