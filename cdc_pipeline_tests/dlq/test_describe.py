"""What a dead letter says of a change: everything but the values of hidden columns."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest

from cdc_pipeline.change import Bound, Damage, RowKind
from cdc_pipeline.dlq import FailureReason, describe_damage, describe_event, schema_details
from cdc_pipeline.errors import EntryError
from cdc_pipeline.schema import Column
from cdc_pipeline_tests.load.changes import Cell, Change, batch, table
from cdc_pipeline_tests.types.values import int_bytes

OF = table(
    "t",
    key=[("pk", "int")],
    clustering=[("email", "text"), ("ck", "int")],
    regular=[("m", "map<text, text>"), ("v", "text")],
)
CANARY = b"canary-4711"


def described(change: Change, *hidden: str) -> dict[str, object]:
    """The description of one change."""

    def is_hidden(column: Column) -> bool:
        return column.name in hidden

    (event,) = batch(OF, [change]).events()
    return describe_event(event, OF, is_hidden)


def test_a_change_can_be_read_again() -> None:
    """Keys, cells, times and type are there, values as hex with their CQL type, and it is JSON."""
    change = Change((int_bytes(1),), (b"e", int_bytes(2)), (Cell("v", 5, b"x"), Cell("m", 6, None, b"k")), live=4)
    said = described(change)
    assert said["event_type"] == "insert"
    assert said["partition_key"] == {"pk": {"cql_type": "int", "hex": "00000001"}}
    assert said["clustering_key"] == {
        "email": {"cql_type": "text", "hex": "65"},
        "ck": {"cql_type": "int", "hex": "00000002"},
    }
    assert said["cells"] == [
        {
            "column": "v",
            "path": None,
            "value": {"cql_type": "text", "hex": "78"},
            "timestamp_micros": 5,
            "ttl_seconds": None,
        },
        {"column": "m", "path": "6b", "value": None, "timestamp_micros": 6, "ttl_seconds": None},
    ]
    assert said["timestamp_micros"] == 4
    assert json.loads(json.dumps(said)) == said


CHANGES = {
    "a row": Change(
        (int_bytes(1),), (CANARY, int_bytes(2)), (Cell("v", 5, CANARY), Cell("m", 5, CANARY, CANARY)), live=4
    ),
    "a static": Change((int_bytes(1),), kind=RowKind.STATIC, cells=(Cell("v", 5, CANARY),)),
    "a range": Change(
        (int_bytes(1),), kind=RowKind.RANGE, deleted=5, bounds=(Bound((CANARY,), True), Bound((CANARY, CANARY), False))
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_hidden_values_are_left_out(change: Change) -> None:
    """Neither values nor paths nor bounds of a hidden column are told, in no spelling."""
    said = json.dumps(described(change, "email", "v", "m", "ck"))
    for planted in (CANARY.decode(), CANARY.hex()):
        assert planted not in said
    assert '"masked": true' in said
    assert CANARY.hex() in json.dumps(described(change))


def test_a_deletion() -> None:
    """A deletion says when; a range its bounds."""
    said = described(CHANGES["a range"])
    assert (said["event_type"], said["deleted_micros"], said["cells"]) == ("range_delete", 5, [])
    assert said["start"] == {"values": {"email": {"cql_type": "text", "hex": CANARY.hex()}}, "inclusive": True}
    said = described(Change((int_bytes(1),), kind=RowKind.PARTITION, deleted=9))
    assert (said["event_type"], said["start"], said["clustering_key"]) == ("partition_delete", None, {})


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("entry", FailureReason.CORRUPT_MUTATION),
        ("section", FailureReason.CORRUPT_SEGMENT),
        ("table", FailureReason.UNKNOWN_TABLE),
        ("column", FailureReason.UNKNOWN_COLUMN),
        ("schema", FailureReason.UNREADABLE_SCHEMA),
    ],
)
def test_damage(kind: str, reason: FailureReason) -> None:
    """A damaged place says where it is, how long, and of which table where that is known; it is no change."""
    damage = Damage(kind, EntryError("CommitLog-7-1.log", 99, "x"), 12, OF.id, "v", position=120)
    identity, found, said = describe_damage(damage, "CommitLog-7-1.log", OF)
    assert (found, found.is_change) == (reason, False)
    assert said == {
        "offset": 99,
        "position": 120,
        "bytes": 12,
        "table_id": str(OF.id),
        "table": "ks.t",
        "column": "v",
        "mutation": None,
    }
    again, _, _ = describe_damage(damage, "CommitLog-7-1.log", None)
    elsewhere, _, _ = describe_damage(damage, "CommitLog-7-2.log", OF)
    assert identity == again != elsewhere


def test_damage_of_an_unknown_table() -> None:
    """A table that no schema has is its id."""
    stranger = uuid.uuid4()
    damage = Damage("table", EntryError("CommitLog-7-1.log", 9, "x"), 1, stranger)
    _, _, said = describe_damage(damage, "CommitLog-7-1.log", None)
    assert (said["table_id"], said["table"]) == (str(stranger), None)


def test_bytes_that_nobody_can_read() -> None:
    """Of a mutation only its digest is told, unless the caller's policy allows more."""
    damage = Damage("table", EntryError("CommitLog-7-1.log", 9, "x"), 6, uuid.uuid4(), mutation=CANARY, position=20)
    _, _, said = describe_damage(damage, "CommitLog-7-1.log", None)
    assert said["mutation"] == {"sha256": hashlib.sha256(CANARY).hexdigest()}
    assert CANARY.hex() not in repr(damage)
    _, _, said = describe_damage(damage, "CommitLog-7-1.log", None, lambda raw: {"hex": raw.hex()})
    assert said["mutation"] == {"hex": CANARY.hex()}


def test_which_reasons_are_of_changes() -> None:
    """Only row changes count as parked changes."""
    assert {reason for reason in FailureReason if reason.is_change} == {
        FailureReason.VALUE_OUT_OF_RANGE,
        FailureReason.MASKING_FAILED,
        FailureReason.ORDER_LOST_BY_MASK,
        FailureReason.REFUSED_BY_DESTINATION,
    }


def test_schema_details() -> None:
    """Columns with kind and type, as they were."""
    assert schema_details(OF)["columns"]["m"] == {"kind": "regular", "type": "map<text, text>"}
