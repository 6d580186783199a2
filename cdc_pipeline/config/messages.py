"""One sentence from pydantic's errors: the dotted key, what was expected, what was found, and never a secret."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_KINDS = ("postgres", "clickhouse", "timescaledb")
_EXPECTED = {
    "missing": "expected a value, found none",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "string_type": "expected a text",
    "tuple_type": "expected a list",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "path_type": "expected a path",
    "union_tag_not_found": "expected kind: postgres, clickhouse or timescaledb, found none",
    "string_pattern_mismatch": "expected letters, digits, _ . or - only",
}
_MAPPINGS = ("model_type", "model_attributes_type", "dict_type")
_NAMES = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


def sentence(error: ValidationError, data: dict[str, Any]) -> tuple[str, str]:
    """The dotted key of the first error and the sentence about it; says how many more there are."""
    errors = error.errors(include_url=False)
    first = errors[0]
    path = _path(first, data)
    context = first.get("ctx", {})
    if first["type"] == "unknown_key":
        path.append(str(context["key"]))
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path.append("kind")
    message = _expected(first)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return ".".join(path), message + more


def _path(error: ErrorDetails, data: Any) -> list[str]:
    """The place without pydantic's own words: the tags of unions and `[key]` after a key of a mapping."""
    path = []
    for depth, part in enumerate(error["loc"]):
        tag = error["loc"][0] == "destinations" and depth == 2 and part in _KINDS
        if not tag and not str(part).startswith("<") and part != "[key]" and not str(part).startswith("literal["):
            path.append(str(part))
    return path


def _expected(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return f"expected {context['expected']}{_found(error)}".replace("'", "")
    if kind == "union_tag_invalid":
        return f"expected one of {context['expected_tags']}, found {context['tag']}".replace("'", "")
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return error["msg"].replace("Input should be", "expected a number") + _found(error)
    if kind in _EXPECTED:
        return _EXPECTED[kind] + ("" if kind in ("missing", "union_tag_not_found") else _found(error))
    return error["msg"].replace("Input should be", "expected").replace("Value error, ", "")


def _found(error: ErrorDetails) -> str:
    """What stands there: a number or a short word as it is, anything else by its kind."""
    value = error["input"]
    if value is None:
        return ", found nothing"
    if isinstance(value, bool):
        return f", found {str(value).lower()}"
    if value == "":
        return ", found an empty text"
    short = isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 30)
    if short and error["type"] not in _MAPPINGS:  # a whole section in a variable may hold a password
        return f", found {value}"
    return f", found {_NAMES.get(type(value), type(value).__name__)}"
