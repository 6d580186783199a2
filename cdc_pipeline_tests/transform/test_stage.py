"""The masking stage: what comes out holds no raw value of a masked column, and everything else as it was."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pytest

from cdc_pipeline.change import Bound, RowKind
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import KeyRing, MaskedBatch, MaskingPolicy, MaskingRules, TableMasks, compact, mask_input
from cdc_pipeline_tests.load.changes import Cell, Change, batch, cql, table
from cdc_pipeline_tests.types.values import counted, decimal_bytes, fields, int_bytes, pairs

CANARY = b"canary-4711@example.com"
KEY = (int_bytes(1),)


def masks(of: Table, ring: KeyRing | None, *pii: str, phi: tuple[str, ...] = ()) -> TableMasks:
    return TableMasks(MaskingPolicy(MaskingRules(pii_fields=pii, phi_fields=phi), ring), of)


def masked(of: Table, ring: KeyRing, changes: list[Change], *pii: str, phi: tuple[str, ...] = ()) -> MaskedBatch:
    return masks(of, ring, *pii, phi=phi).apply(compact(batch(of, changes)))


def everything(found: MaskedBatch) -> str:
    """All bytes that leave."""
    merged = found.merged
    arrays: list[pa.Array] = []
    for rows in (merged.rows, merged.static):
        arrays += [*rows.keys, *rows.clustering, rows.cells.value, rows.cells.path]
    said = [value for array in arrays for value in array.to_pylist()]
    return repr([said, merged.ranges, found.failures, found.report])


EVERYWHERE = table(
    "t",
    key=[("email", "text")],
    clustering=[("phone", "text"), ("ck", "int")],
    static=[("iban", "text")],
    regular=[
        ("ssn", "text"),
        ("mrn", "list<text>"),
        ("passport", "set<text>"),
        ("mobile", "map<int, text>"),
        ("v", "int"),
    ],
)


def test_no_raw_value_leaves(keyring: KeyRing) -> None:
    """Keys, clusterings, statics, values, elements and bounds of masked columns are masks; the others as they were."""
    one = int_bytes(7)
    changes = [
        Change(
            (CANARY,),
            (CANARY, one),
            (
                Cell("ssn", 1, CANARY),
                Cell("mrn", 1, CANARY, bytes(16)),
                Cell("passport", 1, b"", CANARY),
                Cell("mobile", 1, CANARY, one),
                Cell("v", 1, one),
            ),
            live=1,
        ),
        Change((CANARY,), kind=RowKind.STATIC, cells=(Cell("iban", 1, CANARY),)),
        Change((CANARY,), kind=RowKind.PARTITION, deleted=1),
        Change((CANARY,), kind=RowKind.RANGE, deleted=1, bounds=(Bound((CANARY,), True), Bound((CANARY,), True))),
    ]
    found = masked(EVERYWHERE, keyring, changes, *MaskingRules().pii_fields, phi=MaskingRules().phi_fields)
    assert found.failures == {}
    assert "canary" not in everything(found)
    assert CANARY.hex() not in everything(found)
    rows = found.merged.rows
    assert rows.clustering[1].to_pylist() == [one]
    by_column = dict(zip(rows.cells.column.tolist(), rows.cells.value.to_pylist(), strict=True))
    assert by_column[EVERYWHERE.value_ids["v"]] == one
    assert by_column[EVERYWHERE.value_ids["ssn"]].startswith(b"h1.")
    assert by_column[EVERYWHERE.value_ids["mrn"]].startswith(b"t1.")
    assert found.merged.ranges[0].key == (rows.keys[0][0].as_py(),)


def test_nulls_and_tombstones_stay(keyring: KeyRing) -> None:
    """A tombstone is none the less one, with its time; an empty text is masked, an empty number is null."""
    of = table("t", regular=[("email", "text"), ("dob", "date")])
    changes = [
        Change((int_bytes(1),), cells=(Cell("email", 5, None), Cell("dob", 5, b""))),
        Change((int_bytes(2),), cells=(Cell("email", 5, b""),)),
    ]
    found = masked(of, keyring, changes, "email", "dob")
    cells = found.merged.rows.cells
    by_row = dict(
        zip(zip(cells.row.tolist(), cells.column.tolist(), strict=True), cells.value.to_pylist(), strict=True)
    )
    assert by_row[0, of.value_ids["email"]] is by_row[0, of.value_ids["dob"]] is None
    assert by_row[1, of.value_ids["email"]].startswith(b"h1.")
    assert cells.ts.tolist() == [5, 5, 5]


@pytest.mark.parametrize(
    ("type_", "raw", "text"),
    [
        ("text", b"\xc3\xbc", b"\xc3\xbc"),
        ("ascii", b"", b""),
        ("int", int_bytes(-5), b"-5"),
        ("int", b"", None),
        ("timestamp", bytes(8), b"1970-01-01 00:00:00.000Z"),
        ("inet", b"\x7f\x00\x00\x01", b"127.0.0.1"),
        ("blob", b"\x01\xff", b"0x01ff"),
        ("frozen<list<text>>", counted(b"a", None), b'["a", null]'),
        ("frozen<map<text, int>>", pairs(b"k", int_bytes(1)), b'{"k": 1}'),
        ("frozen<name>", fields(b"x", int_bytes(1)), b'{"first": "x", "\\"Last\\"": 1}'),
    ],
)
def test_the_input_of_a_mask(type_: str, raw: bytes, text: bytes | None) -> None:
    """The text itself, else the JSON text without outer quotes, so that equal values join across types of text."""
    assert mask_input(cql(type_))(raw) == text


def test_equal_values_have_equal_masks(keyring: KeyRing) -> None:
    """One value in a key, a column and an element of one domain is one mask."""
    of = table("t", key=[("email", "text")], regular=[("user_email", "text"), ("emails", "list<text>")])
    change = Change((CANARY,), cells=(Cell("user_email", 1, CANARY), Cell("emails", 1, CANARY, bytes(16))), live=1)
    rules = MaskingRules(pii_fields=("email", "emails"))
    found = TableMasks(MaskingPolicy(rules, keyring), of).apply(compact(batch(of, [change])))
    values = {*found.merged.rows.keys[0].to_pylist(), *found.merged.rows.cells.value.to_pylist()}
    assert len(values) <= 2
    assert found.merged.rows.keys[0][0].as_py() in found.merged.rows.cells.value.to_pylist()


def test_failures_name_their_row(keyring: KeyRing) -> None:
    """A value that its type cannot read fails its own change, wherever it stands, and is told nowhere."""
    of = table("t", key=[("dob", "decimal")], clustering=[("ip", "decimal")], regular=[("ssn", "decimal")])
    good, bad = decimal_bytes(1, 0), b"\x00\xca\xfe"
    changes = [
        Change((bad,), (good,), live=1),
        Change((good,), (good,), (Cell("ssn", 1, bad),)),
        Change((good,), (decimal_bytes(2, 0),), (Cell("ssn", 1, good),)),
        Change((bad,), kind=RowKind.PARTITION, deleted=1),
        Change((good,), kind=RowKind.RANGE, deleted=1, bounds=(Bound((bad,), True), Bound((bad,), True))),
    ]
    found = masked(of, keyring, changes, "dob", "ip", "ssn")
    assert {row: str(error) for row, error in sorted(found.failures.items())} == {
        0: "column ks.t.dob: a value could not be masked",
        1: "column ks.t.ssn: a value could not be masked",
        3: "column ks.t.dob: a value could not be masked",
        4: "column ks.t.ip: a value could not be masked",
    }
    assert bad.hex() not in everything(found)


def test_scope_row_hides_frequency(keyring: KeyRing, load_rules: Callable[[str], MaskingRules]) -> None:
    """With scope `row` equal values of two rows have different tokens, and the same ones when read again."""
    of = table("t", regular=[("diagnosis", "text")])
    rules = load_rules('rules: [{match: "ks.t.diagnosis", strategy: PHI_TOKENIZE, scope: row}]')
    changes = [Change((int_bytes(n),), cells=(Cell("diagnosis", 1, CANARY),)) for n in (1, 2)]
    tokens = []
    for _ in range(2):
        found = TableMasks(MaskingPolicy(rules, keyring), of).apply(compact(batch(of, changes)))
        tokens.append(found.merged.rows.cells.value.to_pylist())
    assert tokens[0] == tokens[1]
    assert tokens[0][0] != tokens[0][1]


def test_a_missing_key_stops(keyring: KeyRing) -> None:
    """A column that is masked needs a key: without one nothing is passed through, and the sentence names the column."""
    of = table("t", regular=[("email", "text")])
    with pytest.raises(ConfigurationError, match=r"expected a key ring, because ks.t.email is masked"):
        masked(of, None, [Change(KEY, live=1)], "email")  # type: ignore[arg-type]
    assert masks(of, None).apply(compact(batch(of, [Change(KEY, live=1)]))).failures == {}


def test_fingerprints_tell_how_a_column_is_masked(keyring: KeyRing) -> None:
    """Strategy, domain, scope and steps with the key's fingerprint, for masked columns only."""
    of = table("t", regular=[("email", "text"), ("v", "int")])
    found = masks(of, keyring, "email").fingerprints()
    assert found == {"email": ("PII_HASH email value -", keyring.fingerprint())}


def test_parts_are_not_masked_alone_yet(keyring: KeyRing, load_rules: Callable[[str], MaskingRules]) -> None:
    """A rule for a part of a column of this table is refused when the decision is made, not passed over."""
    rules = load_rules('rules: [{match: "ks.t.who.first", strategy: PII_HASH}]')
    policy = MaskingPolicy(rules, keyring)
    with pytest.raises(ConfigurationError, match="expected a rule for the whole column who, found one for a part"):
        TableMasks(policy, table("t", regular=[("who", "name")]))
    assert TableMasks(policy, table("u", regular=[("who", "name")])).decisions["who"].masked is False


def test_fields_of_a_user_type(keyring: KeyRing) -> None:
    """Each field of a masked user type is masked by its own text, whatever its type."""
    of = table("t", regular=[("email", "name")])
    cells = (Cell("email", 1, CANARY, b"\x00\x00"), Cell("email", 1, int_bytes(5), b"\x00\x01"))
    found = masked(of, keyring, [Change(KEY, cells=cells)], "email")
    assert all(value.startswith(b"h1.") for value in found.merged.rows.cells.value.to_pylist())
    assert found.merged.rows.cells.path.to_pylist() == [b"\x00\x00", b"\x00\x01"]
    assert json.dumps(found.report.to_dict())


def test_hidden_columns(load_rules: Callable[[str], MaskingRules]) -> None:
    """A masked, an excluded and a dropped column are hidden; one in the clear is not."""
    of = table("t", regular=[("email", "text"), ("note", "text"), ("v", "int")])
    rules = load_rules('rules: [{match: "ks.t.pk", strategy: NONE}, {match: "ks.t.v", strategy: NONE}]')
    policy = MaskingPolicy(rules, None, "deny")
    of_table = TableMasks(policy, of)
    by_name = {column.name: column for column in of.columns}
    assert of_table.is_masked(by_name["email"])
    assert of_table.is_excluded(by_name["note"])
    assert [name for name, column in by_name.items() if of_table.is_hidden(column)] == ["email", "note"]
    assert of_table.is_hidden(table("u", regular=[("gone", "text")]).regular[0])
