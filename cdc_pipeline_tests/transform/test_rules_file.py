from __future__ import annotations

from pathlib import Path

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform.rules import MaskingRules

RULE = "match: s.t.c, strategy: PII_HASH"

BAD = {
    "an empty file": ("", None, "expected a mapping, found nothing"),
    "only a comment": ("# rules\n", None, "expected a mapping, found nothing"),
    "a list at the top": ("- a\n", None, "expected a mapping, found a list"),
    "not YAML": ("rules: [\n  {match: }", None, "line 2, column 12: expected YAML"),
    "a tab": ("rules:\n\t- a\n", None, "line 2, column 1: expected YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", None, "line 2, column 1: expected YAML"),
    "a Python object": ("rules: !!python/object/apply:os.system [id]\n", "rules[0]", "expected a mapping"),
    "a control character": ("rules: \x01", None, "expected YAML"),
    "a list as a key": ("? [a, b]\n: c\n", None, "expected YAML"),
    "an unknown alias": ("rules: *x\n", None, "line 1, column 8: expected YAML"),
    "endless nesting": ("rules: " + "[" * 5000, None, "nesting without end"),
    "a key twice": ("pii_fields: []\npii_fields: [a]\n", None, "line 2, column 1: expected YAML, found the key"),
    "an unknown key": ("pii_field: []\n", "pii_field", "did you mean pii_fields?"),
    "a key like no other": ("zzz: []\n", "zzz", "unknown key, expected pii_fields, phi_fields, rules"),
    "no list": ("pii_fields: email\n", "pii_fields", "expected a list, found a text"),
    "nothing for a list": ("phi_fields:\n", "phi_fields", "expected a list, found nothing"),
    "a mapping in a list": ("pii_fields: [{a: b}]\n", "pii_fields[0]", "expected a text, found a mapping"),
    "an empty field": ("pii_fields: [a, '']\n", "pii_fields[1]", "expected a text, found nothing"),
    "a column as a field": ("pii_fields: [users.email]\n", "pii_fields[0]", "go under rules"),
    "a glob as a field": ("phi_fields: ['*mail']\n", "phi_fields[0]", "go under rules"),
    "a field without letters": ("pii_fields: ['__']\n", "pii_fields[0]", "expected a field's name"),
    "rules as a mapping": ("rules: {a: b}\n", "rules", "expected a list, found a mapping"),
    "a rule as a text": ("rules: [abc]\n", "rules[0]", "expected a mapping with match and strategy, found a text"),
    "no strategy": ("rules: [{match: s.t.c}]\n", "rules[0]", "expected strategy, found none"),
    "no match": ("rules: [{strategy: NONE}]\n", "rules[0]", "expected match, found none"),
    "an unknown key of a rule": (f"rules: [{{{RULE}, normalize: trim}}]\n", "rules[0].normalize", "mean normalise?"),
    "a wrong strategy": ("rules: [{match: s.t.c, strategy: HASH}]\n", "rules[0].strategy", "found 'HASH'"),
    "an empty strategy": ("rules: [{match: s.t.c, strategy: }]\n", "rules[0].strategy", "found nothing"),
    "a wrong match": ("rules: [{match: users.email, strategy: NONE}]\n", "rules[0].match", "keyspace.table.column"),
    "a wrong scope": (f"rules: [{{{RULE}, scope: table}}]\n", "rules[0].scope", "expected value, row, found 'table'"),
    "a wrong step": (f"rules: [{{{RULE}, normalise: upper}}]\n", "rules[0].normalise", "found 'upper'"),
    "a wrong domain": (f"rules: [{{{RULE}, domain: 'a b'}}]\n", "rules[0].domain", "expected 1 to 64 letters"),
    "a hash by row": (f"rules: [{{{RULE}, scope: row}}]\n", "rules[0].scope", "only PHI_TOKENIZE has it"),
    "NONE normalised": (
        "rules: [{match: s.t.c, strategy: none, normalise: trim}]\n",
        "rules[0].normalise",
        "NONE masks nothing",
    ),
    "a match twice": (f"rules: [{{{RULE}}}, {{match: S.T.C, strategy: NONE}}]\n", "rules[1].match", "rules[0] too"),
}


@pytest.mark.parametrize(("text", "key", "message"), BAD.values(), ids=BAD)
def test_bad_file(tmp_path: Path, text: str, key: str | None, message: str) -> None:
    """What is not understood stops, and the message names the file, the key and what was expected."""
    path = tmp_path / "masking.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        MaskingRules.load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert (caught.value.where, caught.value.key, caught.value.exit_code) == (str(path), key, 2)


def test_missing_file(tmp_path: Path) -> None:
    """A file that is named and missing never becomes the defaults."""
    with pytest.raises(ConfigurationError, match=r"none\.yaml: no such file"):
        MaskingRules.load(tmp_path / "none.yaml")


def test_a_directory(tmp_path: Path) -> None:
    """A file that cannot be read never becomes the defaults."""
    with pytest.raises(ConfigurationError, match="is a directory"):
        MaskingRules.load(tmp_path)


def test_not_utf8(tmp_path: Path) -> None:
    """Another encoding is refused with the offset of the first wrong byte."""
    path = tmp_path / "masking.yaml"
    path.write_bytes(b"rules: []\n# \xe9\n")
    with pytest.raises(ConfigurationError, match="expected UTF-8, found another byte at offset 12"):
        MaskingRules.load(path)
