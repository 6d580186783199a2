from __future__ import annotations

from collections.abc import Callable

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.classify import MaskingStrategy
from cdc_pipeline.transform.decision import Decision, Kind
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.rule import Normalise, Scope
from cdc_pipeline.transform.rules import MaskingRules

Load = Callable[[str], MaskingRules]


def decide(rules: MaskingRules, column: str, kind: Kind = "regular", unclassified: str = "review") -> Decision:
    """The decision about shop.users.<column>, a text."""
    return MaskingPolicy(rules, None, unclassified).decide("shop", "users", column, kind, "text")


def test_by_the_lists() -> None:
    """A list names field and domain; health data comes from `phi_fields`."""
    email, record = (decide(MaskingRules.defaults(), name) for name in ("user_email", "medical_record_number"))
    assert (email.strategy, email.source, email.rule, email.domain) == ("PII_HASH", "pii_fields", "email", "email")
    assert (record.strategy, record.source, record.domain) == ("PHI_TOKENIZE", "phi_fields", "mrn")
    assert email.name == "shop.users.user_email"
    assert (email.unclassified, email.excluded) == (None, False)


def test_a_rule_wins_over_both_lists(load_rules: Load) -> None:
    """A rule decides alone, NONE too."""
    rules = load_rules(
        "rules:\n"
        "  - {match: shop.users.email, strategy: NONE, domain: email}\n"
        "  - {match: shop.users.notes, strategy: PHI_TOKENIZE, scope: row, normalise: trim}\n"
    )
    email, notes = decide(rules, "email"), decide(rules, "notes")
    assert (email.masked, email.source, email.rule) == (False, "rule", "shop.users.email")
    assert (notes.strategy, notes.scope, notes.normalise) == ("PHI_TOKENIZE", Scope.ROW, (Normalise.TRIM,))
    assert notes.domain == "notes"


@pytest.mark.parametrize("kind", ["partition_key", "clustering"])
@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("strategy: PHI_TOKENIZE, scope: row", "expected scope value for key column shop.users.email, found row"),
        ("strategy: PII_HASH, normalise: lower", "expected no normalise for key column shop.users.email"),
    ],
)
def test_refused_on_keys(load_rules: Load, kind: Kind, rest: str, message: str) -> None:
    """Scope row and `normalise` would part or merge keys; the message names file and rule."""
    rules = load_rules(f"rules: [{{match: '*.*.email', {rest}}}]")
    with pytest.raises(ConfigurationError, match=message) as caught:
        decide(rules, "email", kind)
    assert (caught.value.where, caught.value.key) == (rules.source, "rules: *.*.email")
    assert decide(rules, "email", "static").masked


@pytest.mark.parametrize("strategy", ["PII_HASH", "PHI_TOKENIZE"])
def test_allowed_on_keys(load_rules: Load, strategy: str) -> None:
    """A hash, and a token by value, are masks for a key."""
    rules = load_rules(f"rules: [{{match: shop.users.id, strategy: {strategy}}}]")
    assert decide(rules, "id", "partition_key").strategy is MaskingStrategy(strategy)


def test_deny(load_rules: Load) -> None:
    """Under `deny` an unnamed column stays out, an unnamed key column stops, and NONE in a rule is a name."""
    rules = load_rules("rules: [{match: shop.users.user_id, strategy: none}]")
    assert decide(rules, "nickname", unclassified="deny").excluded
    assert not decide(rules, "user_id", "partition_key", "deny").excluded
    assert not decide(rules, "email", "clustering", "deny").excluded
    with pytest.raises(ConfigurationError, match=r"expected a rule for key column shop\.users\.country"):
        decide(rules, "country", "clustering", "deny")


def test_wrong_word() -> None:
    """A word that is none of the three is refused."""
    with pytest.raises(ConfigurationError, match=r"masking\.unclassified: expected allow, review, deny, found 'warn'"):
        MaskingPolicy(MaskingRules.defaults(), None, "warn")


def test_a_key_is_asked_for_only_when_something_is_masked(keyring: KeyRing) -> None:
    """Deciding and passing through need no key; masking without one stops."""
    without = MaskingPolicy(MaskingRules.defaults(), None)
    assert without.masker(decide(without.rules, "title")) is None
    with pytest.raises(ConfigurationError, match=r"masking.keys: expected a key ring, because shop\.users\.email"):
        without.masker(decide(without.rules, "email"))
    masker = MaskingPolicy(without.rules, keyring).masker(decide(without.rules, "email"))
    assert masker is not None
    assert masker.key_id == "k2"


def test_field_rules_only_where_the_column_has_none(load_rules: Load) -> None:
    """A rule of four parts speaks only inside a column that neither a rule nor a list names."""
    rules = load_rules(
        "rules:\n"
        "  - {match: shop.users.profile.nick_email, strategy: PII_HASH}\n"
        "  - {match: shop.users.address.street, strategy: PII_HASH}\n"
        "  - {match: shop.users.open.street, strategy: PII_HASH}\n"
        "  - {match: shop.users.open, strategy: NONE}\n"
    )
    policy = MaskingPolicy(rules, None)

    def field(column: str, name: str) -> Decision | None:
        return policy.decide_field("shop", "users", column, name, "regular", "text")

    nick = field("profile", "nick_email")
    assert nick is not None
    assert (nick.name, nick.domain, nick.source) == ("shop.users.profile.nick_email", "email", "rule")
    assert [field("profile", "other"), field("address", "street"), field("open", "street")] == [None, None, None]
    assert decide(rules, "profile").source == "unclassified"


def test_field_rules_on_keys(load_rules: Load) -> None:
    """What is refused on a key column is refused on a field in it."""
    policy = MaskingPolicy(load_rules("rules: [{match: s.t.k.f, strategy: PII_HASH, normalise: trim}]"), None)
    with pytest.raises(ConfigurationError, match=r"expected no normalise for key column s\.t\.k\.f"):
        policy.decide_field("s", "t", "k", "f", "clustering", "text")


def test_idle_rules(load_rules: Load) -> None:
    """A rule that fits no column at hand is told, because it may be a typing error."""
    rules = load_rules("rules: [{match: s.t.emial, strategy: PII_HASH}, {match: s.*.id, strategy: NONE}]")
    assert MaskingPolicy(rules, None).idle_rules([("s", "t", "email"), ("s", "t", "id")]) == ["s.t.emial"]
