"""Planted values and secrets are searched for in everything that masking says."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from cdc_pipeline.errors import CdcError
from cdc_pipeline.transform.keys import KeyRing
from cdc_pipeline.transform.masker import Masker
from cdc_pipeline.transform.policy import MaskingPolicy
from cdc_pipeline.transform.report import MaskingReport
from cdc_pipeline.transform.rule import Normalise, Scope
from cdc_pipeline.transform.rules import MaskingRules
from cdc_pipeline_tests.transform.conftest import ACTIVE_SECRET, RETIRED_SECRET, key_entry, write_keys

CANARY = b"canary-4711@example.com"
BROKEN = CANARY + b"\xff"  # no UTF-8, so that normalising it fails
POLICY = MaskingPolicy(MaskingRules.defaults(), None)
EMAIL = replace(POLICY.decide("shop", "users", "email", "regular", "text"), normalise=(Normalise.LOWER,))
MRN = POLICY.decide("clinic", "patients", "mrn", "regular", "text")


def everything_said(error: BaseException) -> str:
    """Text, repr, attributes, arguments, pickle and traceback of an error and of all errors behind it."""
    said = []
    while True:
        said += [str(error), repr(error), repr(error.args), repr(vars(error)), str(pickle.dumps(error.args))]
        said += traceback.format_exception(error)
        behind = error.__cause__ or error.__context__
        if behind is None:
            return "\n".join(said)
        error = behind


def assert_silent(said: str) -> None:
    """No canary and no secret in any spelling: as it is, base64, hex or repr."""
    for planted in (CANARY, b"canary-4711", ACTIVE_SECRET, RETIRED_SECRET):
        forms = (repr(planted)[2:-1], planted.hex(), base64.b64encode(planted).decode()[:-2])
        assert [form for form in forms if form in said] == []


FAILURES: dict[str, Callable[[KeyRing], object]] = {
    "mask": lambda ring: Masker(EMAIL, ring).mask([b"fine", BROKEN]),
    "mask_array": lambda ring: Masker(EMAIL, ring).mask_array(pa.array([BROKEN], pa.binary())),
    "mask by row": lambda ring: Masker(replace(MRN, scope=Scope.ROW), ring).mask([CANARY]),
    "mask a text": lambda ring: Masker(EMAIL, ring).mask([CANARY.decode()]),  # type: ignore[list-item]
    "mask a string array": lambda ring: Masker(EMAIL, ring).mask_array(
        pa.array([CANARY.decode()])  # type: ignore[arg-type]
    ),
    "reveal a value": lambda ring: Masker(MRN, ring).reveal(CANARY.decode()),
    "reveal a value with dots": lambda ring: Masker(MRN, ring).reveal("t1." + CANARY.decode()),
    "reveal another row": lambda ring: Masker(replace(MRN, scope=Scope.ROW), ring).reveal(
        str(Masker(MRN, ring).mask([CANARY])[0]), CANARY
    ),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_failures_say_no_value(keyring: KeyRing, failure: Callable[[KeyRing], object]) -> None:
    """No error of masking holds the value, nor does an error behind it."""
    with pytest.raises(CdcError) as caught:
        failure(keyring)
    assert_silent(everything_said(caught.value))


@pytest.mark.parametrize("change", [{"status": "old"}, {"extra": 1}, {"id": "a b"}, {"secret": None}])
def test_bad_keys_say_no_secret(tmp_path: Path, change: dict[str, object]) -> None:
    """No error about a key file holds a secret of it."""
    path = write_keys(tmp_path / "keys.json", key_entry(), key_entry("k1", RETIRED_SECRET, "retired") | change)
    with pytest.raises(CdcError) as caught:
        KeyRing.load(path)
    assert_silent(everything_said(caught.value))


@pytest.mark.parametrize("cut", [1, 30, 60, 75])
def test_broken_keys_say_no_secret(tmp_path: Path, cut: int) -> None:
    """No error about a half-written key file holds what is in it, not even in the parser's error behind it."""
    path = write_keys(tmp_path / "keys.json", key_entry())
    path.write_text(path.read_text()[:-cut])
    with pytest.raises(CdcError) as caught:
        KeyRing.load(path)
    assert_silent(everything_said(caught.value))


def test_results_show_no_value(keyring: KeyRing) -> None:
    """Masks, maskers, policies, reports and key rings show neither value nor secret."""
    policy = MaskingPolicy(MaskingRules.defaults(), keyring)
    said = [repr(policy), repr(keyring), json.dumps(keyring.listing())]
    for decision in (EMAIL, MRN):
        masker = Masker(decision, keyring)
        result = masker.try_mask([CANARY, CANARY.upper(), None])
        report = MaskingReport.counted(masker, result)
        said += [repr(masker), repr(result), repr(report), json.dumps(report.to_dict()), repr(decision)]
    assert_silent("\n".join(said))
