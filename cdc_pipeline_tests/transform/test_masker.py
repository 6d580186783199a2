from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_pipeline.errors import MaskingFailed
from cdc_pipeline.transform import masker as masker_module
from cdc_pipeline.transform.classify import MaskingStrategy
from cdc_pipeline.transform.decision import Decision
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masker import RECENT_VALUE_BYTES, RECENT_VALUES, Masker
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.rule import Normalise, Scope
from cdc_pipeline.transform.rules import MaskingRules
from cdc_pipeline_tests.transform.conftest import RETIRED_SECRET, key_entry, write_keys

POLICY = MaskingPolicy(MaskingRules.defaults(), None)
EMAIL = POLICY.decide("shop", "users", "email", "regular", "text")
MRN = POLICY.decide("clinic", "patients", "mrn", "regular", "text")
BY_ROW = replace(MRN, scope=Scope.ROW)
NORMALISED = replace(EMAIL, normalise=(Normalise.TRIM, Normalise.LOWER))

# the key ring is one and the same in all examples
same_ring = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
columns = st.lists(st.none() | st.binary(max_size=40) | st.sampled_from([b"", b"a", b"ada@example.com"]))


@same_ring
@given(values=columns, decision=st.sampled_from([EMAIL, MRN]))
def test_deterministic_and_null_stays_null(keyring: KeyRing, values: list[bytes | None], decision: Decision) -> None:
    """Two maskers, and one masker twice, give the same texts; None is None; the rest is no value."""
    first, second = Masker(decision, keyring), Masker(decision, keyring)
    texts = first.mask(values)
    assert first.mask(values) == second.mask(values) == texts
    assert [text is None for text in texts] == [value is None for value in values]
    assert len(set(texts)) == len(set(values))


@same_ring
@given(values=columns, decision=st.sampled_from([EMAIL, MRN, BY_ROW]))
def test_arrow_gives_the_same(keyring: KeyRing, values: list[bytes | None], decision: Decision) -> None:
    """The Arrow form is the list form, sliced arrays too."""
    masker, ids = Masker(decision, keyring), [b"%d" % at for at in range(len(values))]
    array = masker.mask_array(pa.array([b"x", *values], pa.binary())[1:], ids)
    assert array.type == pa.string()
    assert array.to_pylist() == masker.mask(values, ids)


@same_ring
@given(values=columns, scope=st.sampled_from(Scope))
def test_reversible(keyring: KeyRing, values: list[bytes | None], scope: Scope) -> None:
    """A token of either scope gives its value back."""
    masker, ids = Masker(replace(MRN, scope=scope), keyring), [b"%d" % at for at in range(len(values))]
    for value, text, row_id in zip(values, masker.mask(values, ids), ids, strict=True):
        assert text is None or masker.reveal(text, row_id) == value


@same_ring
@given(value=st.binary())
def test_joins(keyring: KeyRing, value: bytes) -> None:
    """The same e-mail in two tables under two column names has one mask; in another domain another."""
    policy = MaskingPolicy(MaskingRules.defaults(), keyring)
    names = [("shop", "users", "email"), ("crm", "leads", "contactEmail"), ("shop", "users", "phone")]
    maskers = [policy.masker(policy.decide(*name, "regular", "text")) for name in names]
    here, there, other = [masker.mask([value]) for masker in maskers if masker]
    assert here == there != other


def test_shape(keyring: KeyRing) -> None:
    """A mask names scheme, version and key."""
    assert str(Masker(EMAIL, keyring).mask([b"a"])[0]).startswith("h1.k2.")
    assert str(Masker(MRN, keyring).mask([b"a"])[0]).startswith("t1.k2.")


def test_scope_row(keyring: KeyRing) -> None:
    """By row, equal values differ between rows, tables and columns, and stay equal for one row (replay)."""
    masker = Masker(BY_ROW, keyring)
    texts = masker.mask([b"flu", b"flu", b"flu"], [b"1", b"2", b"1"])
    assert texts[0] == texts[2] != texts[1]
    other_table, other_column = replace(BY_ROW, table="visits"), replace(BY_ROW, column="reason")
    elsewhere = [Masker(decision, keyring).mask([b"flu"], [b"1"])[0] for decision in (other_table, other_column)]
    assert len({texts[0], *elsewhere}) == 3
    with pytest.raises(MaskingFailed, match="not of this key, domain or row"):
        masker.reveal(str(texts[0]), b"2")
    with pytest.raises(MaskingFailed, match="expected a row id for scope row, found none"):
        masker.reveal(str(texts[0]))


@pytest.mark.parametrize(("row_ids", "found"), [(None, "none"), ([b"1"], "1")])
def test_row_ids_must_be_there(keyring: KeyRing, row_ids: list[bytes] | None, found: str) -> None:
    """Scope row without one row id per value fails as a whole."""
    with pytest.raises(MaskingFailed, match=rf"clinic\.patients\.mrn: expected 2 row ids, found {found}"):
        Masker(BY_ROW, keyring).mask([b"a", b"b"], row_ids)


def test_normalised(keyring: KeyRing) -> None:
    """With `normalise`, spellings of one e-mail join."""
    assert len(set(Masker(NORMALISED, keyring).mask([b"Ada@Example.com ", b"ada@example.com"]))) == 1


def test_only_the_failing_rows_fail(keyring: KeyRing) -> None:
    """A value that cannot be masked is None and told by its ordinal; the others are masked."""
    values = [b"a", b"\xff", None, b"b", b"\xff"]
    result = Masker(NORMALISED, keyring).try_mask(values)
    assert (result.masked, result.null, result.failed) == (2, 1, (1, 4))
    assert [text is None for text in result.values] == [False, True, True, False, True]
    arrow = Masker(NORMALISED, keyring).try_mask_array(pa.array(values, pa.binary()))
    assert arrow.values.to_pylist() == result.values
    assert (arrow.masked, arrow.null, arrow.failed) == (2, 1, (1, 4))


def test_mask_is_all_or_nothing(keyring: KeyRing) -> None:
    """`mask` and `mask_array` raise with the first failing row; no column comes out with holes."""
    masker, values = Masker(NORMALISED, keyring), [b"a", b"\xff"]
    message = r"column shop\.users\.email: 1 of 2 values could not be masked, the first at row 1$"
    with pytest.raises(MaskingFailed, match=message):
        masker.mask(values)
    with pytest.raises(MaskingFailed, match=message):
        masker.mask_array(pa.array(values, pa.binary()))


def test_other_types_never_pass(keyring: KeyRing) -> None:
    """A value that is not bytes fails, it is not guessed at."""
    values = ["text", 1, bytearray(b"a"), b"a"]
    assert Masker(EMAIL, keyring).try_mask(values).failed == (0, 1, 2)  # type: ignore[arg-type]
    with pytest.raises(MaskingFailed, match="expected a binary array, found string"):
        Masker(EMAIL, keyring).mask_array(pa.array(["text"]))  # type: ignore[arg-type]


def test_any_failure_is_closed(keyring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside, nothing comes out and the message is ours."""

    def broken(value: bytes, steps: object) -> bytes:
        raise RuntimeError(f"cannot do {value!r}")

    monkeypatch.setattr(masker_module, "normalised", broken)
    with pytest.raises(MaskingFailed) as caught:
        Masker(NORMALISED, keyring).mask([b"canary"])
    assert caught.value.__context__ is None
    assert "canary" not in repr(caught.value)


def test_retired_keys_still_reveal(keyring: KeyRing, tmp_path: Path) -> None:
    """A token of a key retired since is revealed; a new mask is made with the active one."""
    path = write_keys(tmp_path / "old.json", key_entry("k1", RETIRED_SECRET))
    old = str(Masker(MRN, KeyRing.load(path)).mask([b"MRN-1"])[0])
    new = Masker(MRN, keyring)
    assert old.startswith("t1.k1.")
    assert new.reveal(old) == b"MRN-1"
    assert new.mask([b"MRN-1"]) != [old]


@pytest.mark.parametrize("token", ["MRN-1", "", "h1.k2.00", "t1.k2.AAAA"])
def test_reveal_refuses(keyring: KeyRing, token: str) -> None:
    """What is no token of this column is refused without being repeated."""
    with pytest.raises(MaskingFailed, match=r"column clinic\.patients\.mrn: ") as caught:
        Masker(MRN, keyring).reveal(token)
    assert not token or token not in str(caught.value)


def test_reveal_needs_the_key_and_a_strategy_with_a_way_back(keyring: KeyRing) -> None:
    """A hash is one way, and a token without its key stays shut."""
    with pytest.raises(MaskingFailed, match="expected a t1 token of PHI_TOKENIZE"):
        Masker(EMAIL, keyring).reveal(str(Masker(MRN, keyring).mask([b"a"])[0]))
    with pytest.raises(MaskingFailed, match="the key ring has no key of the token's id"):
        Masker(MRN, keyring).reveal("t1.k9." + "A" * 24)


def test_nothing_to_mask(keyring: KeyRing) -> None:
    """A masker for NONE would be a way around the mask."""
    with pytest.raises(ValueError, match="expected a strategy that masks"):
        Masker(replace(EMAIL, strategy=MaskingStrategy.NONE), keyring)


@pytest.fixture
def counting(keyring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> tuple[Masker, Callable[[], int]]:
    """A masker, and how often it has masked one value."""
    calls = 0
    masker = Masker(EMAIL, keyring)
    inner = masker._mask

    def counted(value: bytes, context: bytes) -> str:
        nonlocal calls
        calls += 1
        return inner(value, context)

    masker._mask = counted
    return masker, lambda: calls


def test_distinct_values_only(counting: tuple[Masker, Callable[[], int]]) -> None:
    """A value is masked once per call, and not again in the next."""
    masker, calls = counting
    masker.mask([b"a", b"b", b"a"] * 100)
    masker.mask_array(pa.array([b"b", b"a"], pa.binary()))
    assert calls() == 2


def test_memory_is_bounded(counting: tuple[Masker, Callable[[], int]]) -> None:
    """At most two generations are remembered, no long value, and the youngest longest."""
    masker, calls = counting
    masker.mask([b"x" * (RECENT_VALUE_BYTES + 1)] * 2)
    assert (len(masker._recent), calls()) == (0, 1)
    for start in range(0, 5 * RECENT_VALUES, RECENT_VALUES // 2):
        masker.mask([b"%d" % at for at in range(start, start + RECENT_VALUES // 2)])
        assert len(masker._recent) + len(masker._older) <= 2 * RECENT_VALUES
    before = calls()
    masker.mask([b"%d" % (5 * RECENT_VALUES - 1)])
    assert calls() == before
    masker.mask([b"-%d" % at for at in range(2 * RECENT_VALUES)])
    assert len(masker._recent) + len(masker._older) <= 2 * RECENT_VALUES


def test_never_shown(keyring: KeyRing) -> None:
    """A masker remembers values, so it shows and pickles none."""
    masker = Masker(EMAIL, keyring)
    masker.mask([b"canary@example.com"])
    assert repr(masker) == "Masker(shop.users.email, PII_HASH, key_id='k2')"
    with pytest.raises(TypeError, match=r"^a masker is never pickled or copied$"):
        pickle.dumps(masker)
