from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.transform.classify import (
    PHI_FIELDS,
    PII_FIELDS,
    MaskingStrategy,
    classify_field,
    domain_of,
    find_field,
    match_field,
    split_name,
)
from cdc_pipeline_tests.transform.conftest import unhurried


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


PII = words(
    """
    email phone mobile telephone ssn social_security address credit_card card_number cc_number iban ip
    ip_address ip_addr national_id passport tax_id date_of_birth birth_date dob
    """
)
PHI = words(
    """
    medical_record mrn patient_id diagnosis prescription medication blood_type lab_result insurance_number
    policy_number
    """
)

PII_SPELLINGS = words(
    """
    user_email userEmail USER_EMAIL useremail emailaddress email_address e_mail E-Mail eMail emails work_email_2
    email2 homephone home_phone phonenumber phoneNumber phone1 mobile_phone mobilephone cellphone addresses
    shippingaddress shipping_address address_line_1 addressline creditcard creditCardNumber credit_card_number
    creditcards cardNumber IPAddress ipaddr clientip client_ip userIPs ipv4 ipv6_address lastLoginIp SSN
    employeeSSN userssn socialSecurityNumber birthdate BirthDate dateOfBirth DOB patientdob passportno
    passport_number taxid TaxID nationalId social_security_number customer.email
    """
)
PHI_SPELLINGS = words(
    """
    medical_record_number medicalRecordNumber medicalrecord MRN patientmrn patientId patientid PatientID
    diagnoses diagnosis_code primary_diagnosis prescriptions medicationName bloodType blood_types lab_results
    labresult insuranceNumber policyNumber
    """
)

# each holds a field as a substring, as a part of a word, or only sounds like one
HARMLESS = words(
    """
    description descriptor classname class_name shipping shipped_at shipment_id recipe recipient_count script
    scripts subscription_tier manuscript equipment zipper zip_code zipped clip clip_count tip tips trip trip_id
    strip membership ownership relationship chip_set flip_side grip skip_rows participant principal recipe_id
    multiple ripple snippet tooltip pipeline pip automobile immobile mobility automobiles microphone headphone
    saxophone telephony_vendor passporting addressable addressed_by lessness dobson adobe adobe_version hassnow
    transcription_id prescriptive prescribed mediation meditation immediate medical medicine_cabinet blood
    bloodline lab label result results_total insurance policy policy_name number card cards discard_reason
    cardinality credit credit_limit record record_count patience impatient_flag patients_seen ibanez caliban tax
    taxi taxi_d taxonomy nation national nationality birth birthplace_known date date_created social security
    security_level name title status total price currency created_at updated_at user_id order_id session_id
    quantity sku payload kind actor warehouse weight_g e_mailbox do_b s_sn i_p
    """
)


@pytest.mark.parametrize("name", [*PII, *PII_SPELLINGS])
def test_pii(name: str) -> None:
    """Every PII name of the design, in the spellings people use, is hashed."""
    assert classify_field(name) is MaskingStrategy.PII_HASH


@pytest.mark.parametrize("name", [*PHI, *PHI_SPELLINGS])
def test_phi(name: str) -> None:
    """Every PHI name of the design, in the spellings people use, is tokenised."""
    assert classify_field(name) is MaskingStrategy.PHI_TOKENIZE


def test_false_alarms() -> None:
    """None of more than a hundred harmless names raises an alarm."""
    assert len(set(HARMLESS)) >= 100
    assert [name for name in HARMLESS if classify_field(name) is not MaskingStrategy.NONE] == []


@pytest.mark.parametrize("name", ["email_verified", "phone_type", "ip_version", "mobile_app_version", "address_count"])
def test_cautious_alarms(name: str) -> None:
    """The very word is masked, harmless or not: a rule with NONE frees it, a leak cannot be undone."""
    assert classify_field(name) is MaskingStrategy.PII_HASH


@pytest.mark.parametrize("name", ["diagnosis_email", "email_diagnosis", "patient_id_address"])
def test_phi_before_pii(name: str) -> None:
    """A name that holds both is health data."""
    assert classify_field(name) is MaskingStrategy.PHI_TOKENIZE


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("user_email", ["user", "email"]),
        ("userEmail", ["user", "email"]),
        ("HTTPServerIP", ["http", "server", "ip"]),
        ("userIPs", ["user", "ips"]),
        ("address2line", ["address", "2", "line"]),
        ("E-Mail", ["e", "mail"]),
        ("Second Key", ["second", "key"]),
        ("Straße №", ["strasse", "no"]),
        ("", []),
        ("__€__", []),
    ],
)
def test_split_name(name: str, words: list[str]) -> None:
    """A name parts at separators, digits and camelCase humps; letters outside of ASCII are letters."""
    assert split_name(name) == words


@pytest.mark.parametrize(
    ("name", "field", "domain"),
    [
        ("user_email", "email", "email"),
        ("email_address", "email", "email"),
        ("emailaddress", "email", "email"),
        ("client_ip_address", "ip_address", "ip"),
        ("clientip", "ip", "ip"),
        ("mobile", "mobile", "phone"),
        ("medical_record_number", "medical_record", "mrn"),
        ("dob", "dob", "date_of_birth"),
        ("diagnosis_code", "diagnosis", "diagnosis"),
    ],
)
def test_domain(name: str, field: str, domain: str) -> None:
    """The domain is the field's, not the column's, and several names of one thing share it."""
    match = match_field(name)
    assert match is not None
    assert (match.field, match.domain) == (field, domain)


def test_own_lists() -> None:
    """Lists that are passed replace the built-in ones; a field of more words wins, then the list's order."""
    assert match_field("email", ["full_name"], []) is None
    assert find_field("full_name_kana", ["name", "full_name"]) == "full_name"
    assert find_field("name_alias", ["alias", "name"]) == "alias"
    assert find_field("md5_email", ["md5"]) == "md5"
    assert find_field("address2", ["address2"]) == "address2"
    assert domain_of("Full_Name") == "full_name"


def test_lists_are_those_of_the_design() -> None:
    """The built-in lists hold the names of the design and no other."""
    assert set(PII_FIELDS) == set(PII)
    assert set(PHI_FIELDS) == set(PHI)


@unhurried
@given(st.sampled_from([*PII, *PHI]), st.sampled_from(["x_{}", "{}_y", "x_{}_y", "{}s"]))
def test_neighbours_do_not_hide_a_field(field: str, around: str) -> None:
    """Words before and after, and a plural, leave the strategy what it is."""
    assert classify_field(around.format(field)) is classify_field(field) is not MaskingStrategy.NONE


@unhurried
@given(st.text())
def test_any_name(name: str) -> None:
    """Every text has a strategy."""
    assert classify_field(name) in MaskingStrategy
