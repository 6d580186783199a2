from __future__ import annotations

import pytest

from cdc_pipeline.transform.decision import Unclassified, holds_text
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.rules import MaskingRules


@pytest.mark.parametrize(
    "cql_type",
    [
        *("text", "ascii", "varchar", "TEXT", "map<int, text>", "list<frozen<tuple<date, text>>>", "vector<text, 2>"),
        *("frozen<address>", 'frozen<"int">', "'org.apache.cassandra.db.marshal.UTF8Type'"),
    ],
)
def test_holds_text(cql_type: str) -> None:
    """Text anywhere inside, a UDT and a custom type may hold text."""
    assert holds_text(cql_type)


@pytest.mark.parametrize(
    "cql_type", ["int", "frozen<list<float>>", "map<uuid, inet>", "vector<float, 2>", "counter", "blob"]
)
def test_holds_no_text(cql_type: str) -> None:
    """Numbers, times, ids and their collections hold none."""
    assert not holds_text(cql_type)


@pytest.mark.parametrize(
    ("unclassified", "cql_type", "excluded", "listed", "review"),
    [
        ("allow", "text", False, True, False),
        ("review", "text", False, True, True),
        ("review", "int", False, False, False),
        ("deny", "text", True, True, False),
        ("deny", "int", True, False, False),
    ],
)
def test_what_follows(unclassified: str, cql_type: str, excluded: bool, listed: bool, review: bool) -> None:
    """`review` loads and lists text, `deny` leaves every kind out, `allow` loads in silence."""
    decision = MaskingPolicy(MaskingRules.defaults(), None, unclassified).decide("s", "t", "c", "regular", cql_type)
    assert decision.unclassified is Unclassified(unclassified)
    assert not decision.masked
    assert (decision.excluded, decision.unclassified_text, decision.needs_review) == (excluded, listed, review)
