"""What the front must know of a statement: its first word, its format, and where an INSERT's data begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

_TOKEN = re.compile(
    rb"""(?P<gap>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
       | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
       | (?P<word>\w+)
       | (?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_TRAILING_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*(?:\bSETTINGS\b[^)]*)?;?\s*\Z", re.IGNORECASE)
_WAIT = re.compile(rb"\b(?:SYNC|NO\s+DELAY)\s*;?\s*\Z", re.IGNORECASE)
_STREAMED = {
    "Native",
    "TabSeparated",
    "TSV",
    "CSV",
    "RowBinary",
    "JSONEachRow",
    "ArrowStream",
}  # blocks that may follow each other
_WITH_RESULT = {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "FROM", "("}


@dataclass(frozen=True)
class Statement:
    """The words of a statement; positions are in bytes. `format` is that of its FORMAT clause."""

    first: str
    format: str | None = None
    settings_at: int | None = None
    format_at: int | None = None
    data_at: int | None = None
    keeps_state: bool = False

    @property
    def has_result(self) -> bool:
        return self.first in _WITH_RESULT

    def streams(self, format_: str) -> bool:
        """Whether its result may be sent block by block."""
        return self.first in ("SELECT", "WITH") and format_ in _STREAMED


def _after_format(text: bytes, at: int) -> int:
    """Where data begin behind `FORMAT Name`: after blanks and one line feed, as in ClickHouse's parser."""
    while text[at : at + 1] in (b" ", b"\t", b"\f"):
        at += 1
    if text[at : at + 1] == b"\r":
        at += 1
    return at + 1 if text[at : at + 1] == b"\n" else at


def parse(text: bytes) -> Statement:
    """Look at a statement; of an INSERT up to the name of its format, behind which its data may follow."""
    words: list[str] = []
    settings_at: int | None = None
    depth = 0
    for token in _TOKEN.finditer(text):
        if token["gap"]:
            continue
        word = token[0].decode(errors="replace").upper() if token["word"] else token[0][:1].decode(errors="replace")
        if len(words) >= 4 and words[0] != "INSERT":
            break
        if depth == 0 and token["word"] and words[:1] == ["INSERT"]:
            if word in ("SELECT", "WITH", "VALUES", "INFILE"):
                break
            if word == "SETTINGS":
                settings_at = settings_at or token.start()
            elif word == "FORMAT" and words[-1] not in ("INTO", "TABLE", "."):
                return _insert(text, settings_at, token.start())
        depth += (word == "(") - (word == ")")
        words.append(word)
    trailing = _TRAILING_FORMAT.search(text) if words[:1] != ["INSERT"] else None
    name = trailing[1].decode() if trailing else None
    return Statement(words[0] if words else "", name, keeps_state=_keeps_state(words))


def _insert(text: bytes, settings_at: int | None, format_at: int) -> Statement:
    """An INSERT whose FORMAT clause begins at `format_at`."""
    after = [token for token in islice(_TOKEN.finditer(text, format_at + len("FORMAT")), 3) if not token["gap"]]
    if not after or not after[0]["word"]:
        return Statement("INSERT")
    data_at = _after_format(text, after[0].end())
    return Statement("INSERT", after[0][0].decode(), settings_at, format_at, data_at)


def _keeps_state(words: list[str]) -> bool:
    return bool(words) and (words[0] in ("SET", "USE") or "TEMPORARY" in words[:4])


def from_file(text: bytes, insert: Statement, path: str) -> bytes:
    """An `INSERT … FORMAT …` whose data lie in a file."""
    assert insert.format is not None
    assert insert.format_at is not None
    at = insert.format_at if insert.settings_at is None else min(insert.settings_at, insert.format_at)
    infile = "FROM INFILE '" + path.replace("\\", "\\\\").replace("'", "\\'") + "' "
    end = insert.format_at
    return text[:at] + infile.encode() + text[at:end] + f"FORMAT {insert.format}".encode()


def without_wait(text: bytes, statement: Statement) -> bytes:
    """A DROP that does not wait until the files are gone: chDB has no thread that deletes them, so it would hang."""
    return _WAIT.sub(b"", text) if statement.first in ("DROP", "DETACH") else text
