from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from cdc_pipeline.transform.classify import PHI_FIELDS, PII_FIELDS, MaskingStrategy
from cdc_pipeline.transform.rule import Normalise, Scope
from cdc_pipeline.transform.rules import MaskingRules

Load = Callable[[str], MaskingRules]


def test_defaults() -> None:
    """The defaults are the built-in lists without a rule, and cannot be changed."""
    rules = MaskingRules.defaults()
    assert (rules.pii_fields, rules.phi_fields, rules.rules) == (PII_FIELDS, PHI_FIELDS, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        rules.rules = ()  # type: ignore[misc]


def test_a_list_replaces_its_own_only(load_rules: Load) -> None:
    """`pii_fields` replaces the built-in PII list and leaves the PHI list; [] is none."""
    rules = load_rules("pii_fields: [full_name]\n")
    assert (rules.pii_fields, rules.phi_fields) == (("full_name",), PHI_FIELDS)
    assert load_rules("phi_fields: []\n").phi_fields == ()
    assert load_rules("{}").pii_fields == PII_FIELDS


def test_words_that_yaml_would_turn_into_something_else(load_rules: Load) -> None:
    """`no` and `on` are field names here, not booleans."""
    assert load_rules("pii_fields: [no, on, ip]\n").pii_fields == ("no", "on", "ip")


def test_a_rule_in_full(load_rules: Load) -> None:
    """Every key of a rule is read, in any case."""
    text = "rules: [{match: s.t.c, strategy: phi_tokenize, domain: Mrn, scope: row, normalise: [trim, LOWER]}]"
    rule = load_rules(text).rules[0]
    assert rule.strategy is MaskingStrategy.PHI_TOKENIZE
    assert (rule.domain, rule.scope, rule.normalise) == ("mrn", Scope.ROW, (Normalise.TRIM, Normalise.LOWER))


def test_the_most_specific_rule_wins_then_the_first(load_rules: Load) -> None:
    """Fewer wildcards win wherever they stand; of equals the first."""
    rules = load_rules(
        "rules:\n"
        "  - {match: '*.*.*', strategy: PII_HASH}\n"
        "  - {match: 'shop.*.*', strategy: PHI_TOKENIZE}\n"
        "  - {match: '*.users.*', strategy: NONE}\n"
        "  - {match: 'shop.users.id', strategy: NONE}\n"
    )
    found = [rules.rule_for("shop", "users", column) for column in ("email", "id")]
    assert [rule and rule.pattern.text for rule in found] == ["shop.*.*", "shop.users.id"]
    assert rules.rule_for("shop", "users", "address", "street") is None


@pytest.mark.parametrize(
    ("match", "domain"),
    [
        ("s.users.user_email", "email"),
        ("s.*.*mail*", "mail"),
        ("s.*.*mobile*", "phone"),
        ("s.users.full_name", "full_name"),
        ("s.*.*", "contact"),
        ("s.t.contact.city", "city"),
    ],
)
def test_domain_comes_from_the_rule(load_rules: Load, match: str, domain: str) -> None:
    """Without a written domain it is what `match` names; only a bare `*` falls to the column's name."""
    rule = load_rules(f"rules: [{{match: '{match}', strategy: PII_HASH}}]").rules[0]
    assert rule.domain_for("contact") == domain
