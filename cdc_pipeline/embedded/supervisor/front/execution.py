"""One statement: its text and data out of a request, run on a connection, its result as an answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from itertools import chain
from pathlib import Path
from typing import Any

from .arrow import joined
from .body import decoded, form_fields
from .engine import Connection, Engine, refusal
from .request import Parameters
from .sessions import Sessions, surroundings
from .statement import Statement, from_file, parse, without_wait

_LONGEST_HEAD = 256 << 10  # where an INSERT's data must have begun, as max_query_size has it
_LONGEST_STATEMENT = 64 << 20
_PIECE = 1 << 20


@dataclass(frozen=True)
class Answer:
    """A piece of what is sent back; only the headers of the first count. `whole`: there is no other."""

    body: bytes | memoryview
    headers: dict[str, str]
    whole: bool


class Executor:
    """Runs statements of any number of requests at once; data on their way in lie in files of `spool`."""

    def __init__(self, engine: Engine, spool: Path) -> None:
        self.engine = engine
        self.sessions = Sessions(engine)
        self._spool = spool

    def run(
        self, parameters: Parameters, body: Iterator[bytes], headers: Message, *, reads_only: bool
    ) -> Generator[Answer, None, None]:
        """The answer in pieces, at least one; raises `EngineError`. The first comes when all that could fail early has.

        The body is read to its end before anything is run, so a request that is cut off changes nothing.
        """
        content = decoded(body, headers)
        for name, value in form_fields(content, headers):
            parameters.take(name, value)
        head = bytearray(parameters.query.encode() + b"\n" if parameters.query else b"")
        for piece in content:
            head += piece
            if len(head) > _LONGEST_HEAD:
                break
        statement = parse(bytes(head[:_LONGEST_HEAD]))
        if not statement.first:
            raise refusal("Syntax error: empty query", 62, "SYNTAX_ERROR")
        if reads_only and not statement.has_result and statement.first not in ("SET", "USE"):
            raise refusal("default: Cannot execute query in readonly mode.", 164, "READONLY")
        if statement.has_result and statement.format == "Arrow":
            parameters.settings["max_threads"] = "1"  # with more chDB 26.5 hangs in one of some forty large results
        session = self.sessions.connection(
            parameters.session,
            parameters.session_seconds,
            must_exist=parameters.session_check,
            keeps_state=statement.keeps_state,
        )
        with (
            self._text(bytes(head), statement, content) as text,
            session as (connection, kept),
            surroundings(connection, parameters.database, parameters.settings, kept=kept),
        ):
            yield from _answers(connection, statement, text, parameters)

    @contextmanager
    def _text(self, head: bytes, statement: Statement, rest: Iterator[bytes]) -> Iterator[bytes]:
        """The statement to run, with its data in a file when it brings data in a format."""
        if statement.data_at is None:
            text = bytearray(head)
            for piece in rest:
                text += piece
                if len(text) > _LONGEST_STATEMENT:
                    raise refusal(
                        f"Query is too large (more than {_LONGEST_STATEMENT} bytes)", 229, "QUERY_IS_TOO_LARGE"
                    )
            yield without_wait(bytes(text), statement)
            return
        with tempfile.NamedTemporaryFile(dir=self._spool, suffix=".data", buffering=0) as file:
            view = memoryview(head)
            for at in range(statement.data_at, len(head), _PIECE):
                file.write(view[at : at + _PIECE])
            for piece in rest:
                file.write(piece)
            yield from_file(head, statement, file.name)


def _answers(connection: Connection, statement: Statement, text: bytes, parameters: Parameters) -> Iterator[Answer]:
    form = statement.format or parameters.default_format
    headers = {"X-ClickHouse-Format": form} if statement.has_result else {}
    if statement.streams(form):
        with closing(connection.stream(text, form, parameters.params)) as blocks:
            if first := next(blocks, None):
                views = (_view(block) for block in chain([first], blocks))
                for piece in joined(views) if form == "ArrowStream" else views:
                    yield Answer(piece, headers, False)
                return
    result = connection.query(text, form, parameters.params)
    counts = {"elapsed_ns": int(result.elapsed() * 1e9)}
    if statement.first == "INSERT":  # what an INSERT reads it writes
        rows = result.rows_read() or result.storage_rows_read()
        counts |= {"written_rows": rows, "written_bytes": result.bytes_read()}
    else:
        counts |= {"result_rows": result.rows_read(), "read_rows": result.storage_rows_read()}
    yield Answer(_view(result), {**headers, "X-ClickHouse-Summary": summary(**counts)}, True)


def _view(result: Any) -> memoryview:
    """A result's bytes, without a copy."""
    view: memoryview = result.get_memview().view() if result.size() else memoryview(b"")
    return view


def summary(**numbers: int) -> str:
    """ClickHouse's summary of a statement: its counts as texts in JSON."""
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes", "result_rows", "elapsed_ns")
    return json.dumps({name: str(numbers.get(name, 0)) for name in names})
