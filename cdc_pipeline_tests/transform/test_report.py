from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masker import Masker
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.report import Counts, MaskingReport
from cdc_pipeline.transform.rule import Normalise
from cdc_pipeline.transform.rules import MaskingRules
from cdc_pipeline_tests.transform.conftest import unhurried


def decision(column: str, cql_type: str = "text", unclassified: str = "review") -> Decision:
    """The decision about shop.users.<column>."""
    policy = MaskingPolicy(MaskingRules.defaults(), None, unclassified)
    return policy.decide("shop", "users", column, "regular", cql_type)


reports = st.dictionaries(
    st.tuples(
        st.sampled_from([decision("email"), decision("mrn"), decision("title")]), st.sampled_from(["k1", "k2", None])
    ),
    st.builds(Counts, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
).map(MaskingReport)


@unhurried
@given(reports, reports, reports)
def test_reports_add_up(first: MaskingReport, second: MaskingReport, third: MaskingReport) -> None:
    """Adding is associative, in any order, and nothing is its zero."""
    assert ((first + second) + third).to_dict() == (first + (third + second)).to_dict()
    assert (first + MaskingReport()).to_dict() == first.to_dict()


def test_counts(keyring: KeyRing) -> None:
    """Masked, null and failed values are counted per column, with rule, domain and key."""
    email = replace(decision("user_email"), normalise=(Normalise.LOWER,))
    masker = Masker(email, keyring)
    report = MaskingReport.of([email, decision("age", "int")], "k2")
    for values in ([b"a", None, b"\xff"], [b"b", b"c"]):
        report += MaskingReport.counted(masker, masker.try_mask(values))
    age, mail = report.to_dict()["columns"]
    assert mail == {
        "keyspace": "shop",
        "table": "users",
        "column": "user_email",
        "strategy": "PII_HASH",
        "source": "pii_fields",
        "rule": "email",
        "domain": "email",
        "scope": "value",
        "normalise": ["lower"],
        "key_id": "k2",
        "masked": 3,
        "null": 1,
        "failed": 1,
    }
    assert (age["strategy"], age["source"], age["key_id"]) == ("NONE", "unclassified", None)


def test_another_key_is_another_line() -> None:
    """Counts of two keys are not mixed, because their masks do not join."""
    email = decision("email")
    both = MaskingReport.of([email], "k1") + MaskingReport.of([email], "k2")
    assert [column["key_id"] for column in both.to_dict()["columns"]] == ["k1", "k2"]


def test_unclassified() -> None:
    """Text that nobody classified is listed, once and in order; only `review` asks for a look, only `deny` excludes."""
    for word, review, excluded in (("allow", False, 0), ("review", True, 0), ("deny", False, 3)):
        columns = [
            decision("title", unclassified=word),
            decision("age", "int", word),
            decision("about", unclassified=word),
        ]
        report = MaskingReport.of([*columns, decision("email")]) + MaskingReport.of(columns)
        assert report.unclassified == ("shop.users.about", "shop.users.title")
        assert (report.needs_review, len(report.excluded)) == (review, excluded)


def test_json() -> None:
    """A report is plain JSON."""
    report = MaskingReport.of([decision("email"), decision("title")], "k1").to_dict()
    assert json.loads(json.dumps(report)) == report
