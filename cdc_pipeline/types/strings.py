"""text, ascii, blob and the legacy EmptyType, and how every string is escaped."""

from __future__ import annotations

import re

from cdc_pipeline.types.registry import Printer, register
from cdc_pipeline.types.wire import wrong_length

_SPECIAL = re.compile(r'[\x00-\x1f"\\]')
_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


def json_string(text: str) -> str:
    """A JSON string as Cassandra escapes it: quote, backslash and what lies below U+0020, nothing else."""
    return f'"{text.translate(_ESCAPES)}"' if _SPECIAL.search(text) else f'"{text}"'


def map_key_json(key: str) -> str:
    """A map key's own JSON as a JSON string: used as it is when it is one, else put in quotes and escaped."""
    return key if key.startswith('"') else json_string(key)


def text_json(value: bytes) -> str:
    """UTF-8 as a string."""
    return json_string(_decode(value, "utf-8", "text"))


def ascii_json(value: bytes) -> str:
    """ASCII as a string."""
    return json_string(_decode(value, "ascii", "ascii"))


def blob_json(value: bytes) -> str:
    """`0x` and lower-case hex as a string."""
    return f'"0x{value.hex()}"'


def never_json(value: bytes) -> str:
    """No value of EmptyType has bytes."""
    raise wrong_length("EmptyType", 0, value)


def _decode(value: bytes, encoding: str, name: str) -> str:
    try:
        return value.decode(encoding)
    except UnicodeDecodeError as problem:
        position = problem.start
    raise ValueError(f"{name}: expected {encoding}, found other bytes at offset {position}")


register("text", cassandra=Printer(text_json), destination=Printer(text_json))
register("ascii", cassandra=Printer(ascii_json), destination=Printer(ascii_json))
register("blob", cassandra=Printer(blob_json, '"0x"'), destination=Printer(blob_json, '"0x"'))
register("EmptyType", cassandra=Printer(never_json))
