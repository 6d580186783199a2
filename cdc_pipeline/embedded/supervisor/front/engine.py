"""chDB's engine in this process: its extension module, its one folder, its connections."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import types
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RTLD_DEEPBIND = 0x00008
_CODE = re.compile(r"Code: (\d+)\.")
_TWICE = re.compile(r"Code: \d+\. DB::Exception: (?=Code: \d+\. DB::Exception: )")


class EngineError(Exception):
    """What ClickHouse says to a statement that failed, with its number."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def refusal(text: str, code: int, name: str) -> EngineError:
    """An error of the front's own, in ClickHouse's words."""
    return EngineError(f"Code: {code}. DB::Exception: {text} ({name})", code)


def _load(packages: str) -> Any:
    """chDB's extension module, below the folder `packages`, without the package's own imports."""
    folder = Path(packages) / "chdb"
    package = types.ModuleType("chdb")
    package.__path__ = [str(folder)]
    sys.modules["chdb"] = package
    if sys.platform == "linux":  # as the package does: its allocator must not be replaced by another's
        ctypes.CDLL(str(folder / "_chdb.abi3.so"), mode=sys.getdlopenflags() | _RTLD_DEEPBIND)
    here = Path.cwd()
    os.chdir(folder)  # where the extension looks for its neighbours
    try:
        from chdb import _chdb  # type: ignore[import-not-found, import-untyped, unused-ignore]
    finally:
        os.chdir(here)
    return _chdb


class Connection:
    """One connection: its settings, its database and its temporary tables are its own. For one thread at a time."""

    def __init__(self, raw: Any, version: str = "") -> None:
        self._raw = raw
        self.version = version

    def query(self, statement: bytes, format_: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Any:
        """chDB's result of a statement, whole in memory; raises `EngineError`."""
        with self._in_words():
            return self._raw.query(statement, format_, params=dict(params or {}))

    def stream(self, statement: bytes, format_: str, params: Mapping[str, str]) -> Generator[Any, None, None]:
        """chDB's results of a statement, a block each; raises `EngineError`. To be closed when left early."""
        with self._in_words():
            stream = self._raw.send_query(statement, format_, params=dict(params))
        done = False
        try:
            while not done:
                with self._in_words():
                    block = self._raw.streaming_fetch_result(stream)
                done = block is None or block.rows_read() == 0
                if not done:
                    yield block
        finally:
            if not done:
                self._raw.streaming_cancel_query(stream)

    def close(self) -> None:
        self._raw.close()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            text = str(error)
            text = _TWICE.sub("", text[max(text.find("Code: "), 0) :]).strip()
            number = _CODE.match(text)
            if self.version and "(version " not in text:
                text += f" (version {self.version} (chDB))"
            raise EngineError(text, int(number[1]) if number else 1001) from None


class Engine:
    """The engine of one folder; only one can be in a process, and only one process can have the folder."""

    def __init__(self, packages: str, data: Path) -> None:
        self._module = _load(packages)
        self._data = str(data)
        self._first = self.connect()  # while it is open the engine stays
        self.version, self.timezone = (
            bytes(self._first.query(b"SELECT version(), timezone()").bytes()).decode().rstrip("\n").split("\t")
        )
        self._first.version = self.version

    def connect(self) -> Connection:
        """A new connection, in well under a millisecond."""
        return Connection(self._module.connect(self._data), getattr(self, "version", ""))

    def close(self) -> None:
        """Let the engine end, when every other connection is closed."""
        self._first.close()
