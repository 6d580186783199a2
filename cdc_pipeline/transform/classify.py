"""What a column name says about its values: a name becomes words, and words are compared, never substrings.

Substrings raise false alarms (`description` holds `ip`, `classname` holds `ssn`); words do not.
The lists are those of the design's masking paper; health data (PHI) is looked for before other personal data (PII).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple


class MaskingStrategy(StrEnum):
    """How a column leaves the pipeline: a one-way hash, a token its key holders can reverse, or in the clear."""

    PII_HASH = "PII_HASH"
    PHI_TOKENIZE = "PHI_TOKENIZE"
    NONE = "NONE"


class FieldMatch(NamedTuple):
    """The field of a list that a column name holds, and the domain in which its masks are equal for equal values."""

    strategy: MaskingStrategy
    field: str
    domain: str


# `address` stands last: `email_address` is an e-mail and `ip_address` an IP address before they are addresses
PII_FIELDS: tuple[str, ...] = (
    *("email", "phone", "mobile", "telephone", "ssn", "social_security"),
    *("credit_card", "card_number", "cc_number", "iban", "ip_address", "ip_addr", "ip"),
    *("national_id", "passport", "tax_id", "date_of_birth", "birth_date", "dob", "address"),
)
PHI_FIELDS: tuple[str, ...] = (
    *("medical_record", "mrn", "patient_id", "diagnosis", "prescription", "medication"),
    *("blood_type", "lab_result", "insurance_number", "policy_number"),
)

# several names of one thing share a domain, so that `mobile` joins `phone`; any other field is its own domain
_DOMAINS = {
    **dict.fromkeys(("mobile", "telephone"), "phone"),
    "social_security": "ssn",
    **dict.fromkeys(("card_number", "cc_number"), "credit_card"),
    **dict.fromkeys(("ip_address", "ip_addr"), "ip"),
    **dict.fromkeys(("birth_date", "dob"), "date_of_birth"),
    "medical_record": "mrn",
}

# words that people glue to a field without a separator: `useremail`, `homephone`, `emailaddress`
_BEFORE = (
    "account backup billing business buyer cell client company contact customer delivery dest dst email emergency "
    "employee home host last login mail mailing member mobile office owner patient person personal postal primary "
    "private recipient remote secondary seller sender server shipping source src street user work"
)
_AFTER = "addr address code id line no nr num number text v value"
_BEFORE_WORDS, _AFTER_WORDS = frozenset(_BEFORE.split()), frozenset(_AFTER.split())

_LETTERS_OR_DIGITS = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+")
_SHORT = 4  # a field this short is never found in parts: `do_b` is no `dob`


def split_name(name: str) -> list[str]:
    """The words of a name in lower case: parted at anything but letters, at digits and at camelCase humps."""
    runs = _LETTERS_OR_DIGITS.findall(unicodedata.normalize("NFKC", name))
    return [word.casefold() for run in runs for word in _CAMEL.findall(run)]


def find_field(name: str, fields: Sequence[str]) -> str | None:
    """The field that `name` holds: one of more words wins (`ip_address` over `address`), then the list's order."""
    words = split_name(name)
    held = [field for field in fields if _holds(words, split_name(field))]
    return max(held, key=lambda field: len(split_name(field)), default=None)


def match_field(
    name: str, pii_fields: Sequence[str] = PII_FIELDS, phi_fields: Sequence[str] = PHI_FIELDS
) -> FieldMatch | None:
    """The strategy, field and domain of a column name by two lists, PHI first; None when neither names it."""
    for strategy, fields in ((MaskingStrategy.PHI_TOKENIZE, phi_fields), (MaskingStrategy.PII_HASH, pii_fields)):
        if field := find_field(name, fields):
            return FieldMatch(strategy, field, domain_of(field))
    return None


def classify_field(name: str) -> MaskingStrategy:
    """The strategy of a column name by the built-in lists."""
    match = match_field(name)
    return match.strategy if match else MaskingStrategy.NONE


def domain_of(field: str) -> str:
    """The domain of a field: the field itself, or the first name of a group (`dob` is `date_of_birth`)."""
    field = field.casefold()
    return _DOMAINS.get(field, field)


def _holds(words: list[str], field: list[str]) -> bool:
    forms = _forms("".join(field))
    if any(_affixed(word, forms) for word in words):
        return True
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            run = words[start:end]
            if "".join(run) in forms and _parted_alike(run, field):
                return True
    return False


def _parted_alike(run: list[str], field: list[str]) -> bool:
    """Whether `run` parts nowhere or where `field` does: `taxi_d` is no `tax_id`; one long word may part: `e_mail`."""
    cuts = set(accumulate(map(len, run[:-1])))
    return cuts <= set(accumulate(map(len, field[:-1]))) or (len(field) == 1 and len(field[0]) > _SHORT)


def _forms(field: str) -> frozenset[str]:
    """Singular and plural of a field written as one word."""
    plural_of_is = {field[:-2] + "es"} if field.endswith("is") else set()
    return frozenset({field, field + "s", field + "es"} | plural_of_is)


def _affixed(word: str, forms: frozenset[str]) -> bool:
    for form in forms:
        before, found, after = word.partition(form)
        if found and (before in _BEFORE_WORDS or not before) and (after in _AFTER_WORDS or not after):
            return True
    return False
