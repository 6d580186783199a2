from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_pipeline.types import Scalar, json_string, map_key_json, to_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("süd", '"süd"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\b\t\n\f\r", '"\\b\\t\\n\\f\\r"'),
        ("\x00\x01\x0b\x1f", '"\\u0000\\u0001\\u000B\\u001F"'),
        ("/\x7f\u2028\u2029\ufeff\U0001d518e\u0301", '"/\x7f\u2028\u2029\ufeff\U0001d518e\u0301"'),
        ("", '""'),
    ],
)
def test_escapes(text: str, expected: str) -> None:
    """Quote, backslash and what lies below U+0020 are escaped, nothing else."""
    assert json_string(text) == expected


@given(st.text())
def test_read_back(text: str) -> None:
    """Any text is read back by a JSON parser."""
    assert json.loads(json_string(text)) == text


@pytest.mark.parametrize(
    ("key", "expected"),
    [("-2", '"-2"'), ("true", '"true"'), ("[-1, 894]", '"[-1, 894]"'), ('"0x"', '"0x"'), ('["a"]', '"[\\"a\\"]"')],
)
def test_map_keys(key: str, expected: str) -> None:
    """A key that is a JSON string stays, any other is put in quotes and escaped."""
    assert map_key_json(key) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", "5c4e", '"\\\\N"'),
        ("text", "73c3bc64", '"süd"'),
        ("ascii", "5c4e", '"\\\\N"'),
        ("blob", "00ff10", '"0x00ff10"'),
    ],
)
def test_real_values(name: str, value: str, expected: str) -> None:
    """text, ascii and blob print as in the recordings."""
    assert to_json(Scalar(name))(bytes.fromhex(value)) == expected


@pytest.mark.parametrize(
    ("name", "value"), [("text", b"ab\xff"), ("text", b"ab\xed\xa0\x80"), ("ascii", b"ab\xc3\xbc")]
)
def test_other_encodings(name: str, value: bytes) -> None:
    """Bytes of another encoding are refused by their place, and the error holds no value."""
    with pytest.raises(ValueError, match="found other bytes at offset 2") as caught:
        to_json(Scalar(name))(value)
    assert caught.value.__context__ is None
