"""The rules file, checked key by key: what is not understood stops with file, key and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.classify import MaskingStrategy, split_name
from cdc_pipeline.transform.pattern import ColumnPattern
from cdc_pipeline.transform.rule import Normalise, Rule, Scope
from cdc_pipeline.transform.strict_yaml import read_mapping

_Choice = TypeVar("_Choice", MaskingStrategy, Normalise, Scope)


class RulesFile(NamedTuple):
    """What a file says; a list that it does not name is None."""

    pii_fields: tuple[str, ...] | None
    phi_fields: tuple[str, ...] | None
    rules: tuple[Rule, ...]


class _Place(NamedTuple):
    """A key in a file, `rules[2].scope`."""

    where: str
    key: str = ""

    def __truediv__(self, key: str) -> _Place:
        return _Place(self.where, f"{self.key}.{key}" if self.key else key)

    def item(self, at: int) -> _Place:
        return _Place(self.where, f"{self.key}[{at}]")

    def error(self, message: str) -> ConfigurationError:
        return ConfigurationError(message, where=self.where, key=self.key or None)


def read_rules(path: Path) -> RulesFile:
    """The checked content of a rules file; ConfigurationError with `where` and `key` otherwise."""
    document, top = read_mapping(path), _Place(str(path))
    _known_keys(document, RulesFile._fields, top)
    return RulesFile(
        pii_fields=_fields(document["pii_fields"], top / "pii_fields") if "pii_fields" in document else None,
        phi_fields=_fields(document["phi_fields"], top / "phi_fields") if "phi_fields" in document else None,
        rules=_rules(document.get("rules", []), top / "rules"),
    )


def _rules(value: object, place: _Place) -> tuple[Rule, ...]:
    rules = tuple(_rule(entry, place.item(at)) for at, entry in enumerate(_list(value, place)))
    first: dict[tuple[str, ...], int] = {}
    for at, rule in enumerate(rules):
        if (before := first.setdefault(rule.pattern.identity, at)) != at:
            found = f"expected one rule per match, found {rule.pattern.text!r} in rules[{before}] too"
            raise (place.item(at) / "match").error(found)
    return rules


def _rule(entry: object, place: _Place) -> Rule:
    if not isinstance(entry, dict):
        raise place.error(f"expected a mapping with match and strategy, found {_kind(entry)}")
    _known_keys(entry, ("match", "strategy", "domain", "scope", "normalise"), place)
    if missing := [name for name in ("match", "strategy") if name not in entry]:
        raise place.error(f"expected {' and '.join(missing)}, found none")
    steps = entry.get("normalise", [])
    rule = Rule(
        pattern=_pattern(entry["match"], place / "match"),
        strategy=_choice(MaskingStrategy, entry["strategy"], place / "strategy"),
        domain=_domain(entry["domain"], place / "domain") if "domain" in entry else None,
        scope=_choice(Scope, entry.get("scope", Scope.VALUE), place / "scope"),
        normalise=tuple(
            _choice(Normalise, step, place / "normalise") for step in (steps if isinstance(steps, list) else [steps])
        ),
    )
    if rule.scope is Scope.ROW and rule.strategy is not MaskingStrategy.PHI_TOKENIZE:
        raise (place / "scope").error(f"expected value, found row: only PHI_TOKENIZE has it, not {rule.strategy}")
    if rule.normalise and rule.strategy is MaskingStrategy.NONE:
        raise (place / "normalise").error("expected none, because NONE masks nothing")
    return rule


def _pattern(value: object, place: _Place) -> ColumnPattern:
    try:
        return ColumnPattern.parse(_text(value, place))
    except ValueError as error:
        raise place.error(str(error)) from None


def _fields(value: object, place: _Place) -> tuple[str, ...]:
    fields = tuple(_text(item, place.item(at)) for at, item in enumerate(_list(value, place)))
    for at, name in enumerate(fields):
        if not split_name(name) or re.search(r"[.*?\[\]]", name):
            raise place.item(at).error(f"expected a field's name (columns and globs go under rules), found {name!r}")
    return fields


def _domain(value: object, place: _Place) -> str:
    domain = _text(value, place)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", domain):
        raise place.error(f"expected 1 to 64 letters, digits, _ . or -, found {domain!r}")
    return domain.casefold()


def _choice(choices: type[_Choice], value: object, place: _Place) -> _Choice:
    text = _text(value, place)
    for choice in choices:
        if choice.casefold() == text.casefold():
            return choice
    raise place.error(f"expected {', '.join(choices)}, found {text!r}")


def _known_keys(mapping: dict[str, object], known: Iterable[str], place: _Place) -> None:
    known = list(known)
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise (place / str(key)).error(f"unknown key, expected {', '.join(known)}{hint}")


def _list(value: object, place: _Place) -> list[object]:
    if not isinstance(value, list):
        raise place.error(f"expected a list, found {_kind(value)}")
    return value


def _text(value: object, place: _Place) -> str:
    if not isinstance(value, str) or not value:
        raise place.error(f"expected a text, found {_kind(value)}")
    return value


def _kind(value: object) -> str:
    if value == "":
        return "nothing"
    return {"dict": "a mapping", "list": "a list"}.get(type(value).__name__, "a text")
