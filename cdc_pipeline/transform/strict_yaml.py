"""YAML read strictly: every scalar is text, a key written twice is an error, and every error says where."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from cdc_pipeline.errors import ConfigurationError


class _StrictLoader(yaml.BaseLoader):
    """BaseLoader keeps `no`, `1e3` and `2024-01-01` as written; this one refuses duplicate keys as well."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_mapping(path: Path) -> dict[str, object]:
    """The mapping at the top of a YAML file, scalars as text.

    ConfigurationError names the file, and line and column (from 1) where there are any: missing or unreadable file,
    not UTF-8, not YAML, a key twice, anything but a mapping (an empty file too).
    """
    where = str(path)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(_lower(error.strerror or "cannot be read"), where=where) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"expected UTF-8, found another byte at offset {error.start}", where=where) from None
    try:
        document = yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigurationError(f"{place}expected YAML, found {error.problem}", where=where) from None
    except (yaml.YAMLError, TypeError):  # a control character; a mapping or a list as a key
        raise ConfigurationError("expected YAML, found what no YAML reader takes", where=where) from None
    except RecursionError:
        raise ConfigurationError("expected YAML, found nesting without end", where=where) from None
    if not isinstance(document, dict):
        found = "nothing" if document in (None, "") else f"a {type(document).__name__}"
        raise ConfigurationError(f"expected a mapping, found {found}", where=where)
    return document


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
