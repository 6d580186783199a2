from __future__ import annotations

import uuid
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import Scalar, to_json
from cdc_pipeline_tests.types.values import LEXICAL_UUID

INET = Scalar("inet")


@given(st.uuids())
def test_uuids(value: uuid.UUID) -> None:
    """All kinds of UUID print in lower case with hyphens."""
    for cql_type in (Scalar("uuid"), Scalar("timeuuid"), LEXICAL_UUID):
        assert to_json(cql_type)(value.bytes) == f'"{value}"'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("d6433485", '"214.67.52.133"'),
        ("00000000000000000000000000000001", '"0:0:0:0:0:0:0:1"'),
        ("20010db800000000000000000000d4b8", '"2001:db8:0:0:0:0:0:d4b8"'),
        ("00000000000000000000ffffd6433485", '"214.67.52.133"'),
        ("00000000000000000000fffed6433485", '"0:0:0:0:0:fffe:d643:3485"'),
    ],
)
def test_addresses(value: str, expected: str) -> None:
    """IPv6 has eight groups and no `::`; an IPv4-mapped address prints as IPv4."""
    assert to_json(INET)(bytes.fromhex(value)) == expected


@given(st.ip_addresses())
def test_addresses_are_read_back(address: IPv4Address | IPv6Address) -> None:
    """Any address is read back by a parser of addresses."""
    text = to_json(INET)(address.packed).strip('"')
    mapped = getattr(address, "ipv4_mapped", None)
    assert type(address)(text) == address if mapped is None else IPv4Address(text) == mapped


@pytest.mark.parametrize(
    ("name", "problem"),
    [("uuid", "uuid: expected 16 bytes, found 5"), ("inet", "inet: expected 4 or 16 bytes, found 5")],
)
def test_malformed(name: str, problem: str) -> None:
    """A wrong length is told by type, expected and found."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        to_json(Scalar(name))(bytes(5))
